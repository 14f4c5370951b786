//! Logs: structured, to standard error, without anything that a user wrote into an object.
//!
//! Logged are the names of objects, verdicts, and errors by what kind they are and where. What stands inside of objects
//! (environment variables, annotations, images, policy documents), bodies, tokens and keys are not, at any level, and
//! not by the crates below either: whoever may read logs is not whoever may read the objects of every namespace.

use std::any::Any;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use serde_json::error::Category;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use ecr_forecast::text::{Unit, cut};

/// What is not logged, whatever the level and the filter say, and everything below it.
///
/// - `kube_client::client` writes whole responses: at `warn` one that does not decode, at `debug` what the API server
///   says of a refused write, at `trace` every status.
/// - `kube_runtime` writes its errors, which quote the values that do not decode.
/// - `rustls` and `h2` write a warning for what a client sends, such as an alert of TLS or a frame of HTTP/2, once for each
///   and in its words: whoever can connect could fill the log with them. What becomes of connections is counted.
const SILENT: [&str; 4] = ["kube_client::client", "kube_runtime", "rustls", "h2"];

/// What is logged all the same: requests by method and URL, and certificate authorities that cannot be read again.
const NOT_SILENT: [&str; 2] = ["kube_client::client::builder", "kube_client::client::tls"];

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogFormat {
    /// One JSON object a line, for log collectors.
    #[default]
    Json,
    /// One line of text, for people.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Neither a level nor a filter in the syntax of `RUST_LOG`.
    #[error("`{given}` is no log level: {source}")]
    Filter {
        /// What was given.
        given: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process has set up logging already.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the whole process.
///
/// `level` is a level (`info`) or a filter (`info,kube=debug`). The environment variable `RUST_LOG` wins over it. Neither
/// brings back what is never logged.
///
/// # Errors
/// When the filter does not parse, or when called twice.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let given = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()).unwrap_or_else(|| level.to_owned());
    let colours = io::stderr().is_terminal();
    subscriber(format, &given, io::stderr, colours)?.try_init().map_err(|_| TelemetryError::Twice)
}

/// A panic as a line of the log like any other: where it was, and what it said if that is a text of the program's own.
///
/// `held_back` are those before it that were not logged.
pub fn log_panic(panic: &PanicHookInfo<'_>, held_back: u64) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, said = said_by(panic.payload()), held_back, "panic");
}

/// What a panic said. A text that was put together may quote what it was about, so only a literal one is told.
pub fn said_by(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("a text that is not logged, see the place of the panic")
}

/// A JSON error without the value that it is about, which its own text quotes: what kind of error, and where.
pub fn json_error(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => format!("a value is not as expected at line {} column {}", error.line(), error.column()),
        // These have fixed texts, with the place.
        Category::Syntax | Category::Eof => error.to_string(),
        Category::Io => "it cannot be read".to_owned(),
    }
}

/// An answer of the API server to a read, or why there is none. Of an object by its name it says no more than the name.
pub fn read_error(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} (code {})", cut(&status.message, LONGEST, Unit::Bytes), status.code),
        error => failure(error),
    }
}

/// The same of a write. A refusal quotes the object, by the API server or by a webhook of somebody else, so that its text
/// is only told where rights are missing: that one is about who we are.
pub fn write_error(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if is_about_rights(status.code, &status.message) => read_error(error),
        kube::Error::Api(status) => {
            format!("refused: {} (code {})", cut(&status.reason, SHORTEST, Unit::Bytes), status.code)
        }
        error => failure(error),
    }
}

/// Whether an API server refuses for want of rights: then its words are about who asks, and not about the object.
pub(super) fn is_about_rights(code: u16, message: &str) -> bool {
    code == 403 && message.contains(" is forbidden: User \"")
}

/// Bytes of an API server's message that are logged at most.
const LONGEST: usize = 1024;
const SHORTEST: usize = 64;

/// No answer, or none that can be read.
fn failure(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(error) => format!("the answer cannot be read: {}", json_error(error)),
        kube::Error::FromUtf8(error) => {
            format!("the answer is no UTF-8 from byte {} on", error.utf8_error().valid_up_to())
        }
        // Of the connection.
        error => causes(error),
    }
}

/// An error with what caused it, as far as that says more.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

fn subscriber<W>(
    format: LogFormat,
    given: &str,
    writer: W,
    colours: bool,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_new(given).map_err(|source| TelemetryError::Filter { given: given.to_owned(), source })?;
    // Not directives behind the others: one that names a span, or a longer target, would win over them.
    let filter = filter.and(filter_fn(may_be_logged));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => lines.with_ansi(colours).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(filter)))
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_below = |module: &&str| {
        let rest = metadata.target().strip_prefix(*module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    !SILENT.iter().any(&is_below) || NOT_SILENT.iter().any(is_below)
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::{Request, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::ListParams;
    use kube::client::Body;
    use kube::core::Status;
    use kube::{Api, Client};

    use super::*;

    const SECRET: &str = "DB_PASSWORD=hunter2";

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn of(format: LogFormat, given: &str, what: impl FnOnce()) -> String {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = subscriber(format, given, move || writer.clone(), false).unwrap();
            tracing::subscriber::with_default(subscriber, what);
            String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_level_that_is_none_is_named() {
        let Err(error) = subscriber(LogFormat::Json, "info,kube=loud", io::stderr, false) else { panic!("a level") };
        assert!(error.to_string().starts_with("`info,kube=loud` is no log level: "), "{error}");
    }

    /// A list in which one pod is none, as the API server's client reads it.
    fn read_what_does_not_decode() -> kube::Error {
        let service = tower::service_fn(|_: Request<Body>| async move {
            let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [
                {"metadata": {"name": "api"}, "spec": {"containers": [{"name": "c", "env": SECRET}]}}]});
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        });
        let list = async move {
            let pods: Api<Pod> = Api::all(Client::new(service, "default"));
            pods.list(&ListParams::default()).await
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(list).unwrap_err()
    }

    #[test]
    fn what_the_client_cannot_decode_is_not_logged_whatever_is_asked_for() {
        for format in [LogFormat::Json, LogFormat::Text] {
            for given in [
                "warn",
                "trace",
                "kube_client::client=trace",
                "trace,[]=trace",
                "off,[HTTP]=trace",
                "kube_client::client[HTTP]=trace",
            ] {
                let lines = Lines::of(format, given, || {
                    let span = tracing::error_span!("HTTP");
                    let _inside = span.enter();
                    let error = read_what_does_not_decode();
                    assert!(error.to_string().contains(SECRET), "the error quotes it: {error}");
                    tracing::error!(error = read_error(&error), "own");
                });
                assert!(!lines.contains(SECRET), "{given}: {lines}");
                let own = !given.starts_with("off") && !given.starts_with("kube");
                assert!(!own || lines.contains("a value is not as expected at line 1 column "), "{given}: {lines}");
            }
        }
    }

    #[test]
    fn what_is_silent_is_so_with_all_below_it_and_nothing_else() {
        let lines = Lines::of(LogFormat::Text, "trace", || {
            tracing::error!(target: "kube_client::client", "no-1");
            tracing::error!(target: "kube_client::client::auth::oauth", "no-2");
            tracing::error!(target: "kube_runtime::watcher", "no-3");
            tracing::error!(target: "rustls::msgs::handshake", "no-4");
            tracing::error!(target: "h2::proto::streams", "no-5");
            tracing::trace!(target: "kube_client::client::builder", "yes-1");
            tracing::trace!(target: "kube_client::client::tls", "yes-2");
            tracing::trace!(target: "kube_client::clients", "yes-3");
            tracing::trace!(target: "kube_client::config", "yes-4");
            tracing::trace!(target: "h2o", "yes-5");
        });
        assert!(!lines.contains("no-"), "{lines}");
        assert_eq!(lines.matches("yes-").count(), 5, "{lines}");
    }

    #[test]
    fn an_error_of_json_says_where_and_not_what() {
        fn error<T: serde::de::DeserializeOwned + fmt::Debug>(text: &str) -> String {
            json_error(&serde_json::from_str::<T>(text).unwrap_err())
        }
        assert_eq!(error::<Vec<u8>>(r#"[1, "hunter2"]"#), "a value is not as expected at line 1 column 13");
        assert_eq!(error::<bool>("\n\"hunter2\""), "a value is not as expected at line 2 column 9");
        assert_eq!(error::<Vec<u8>>("[1, hunter2]"), "expected value at line 1 column 5");
        assert_eq!(error::<serde_json::Value>(&"[".repeat(200)), "recursion limit exceeded at line 1 column 128");
        assert_eq!(error::<String>(r#""hunter2"#), "EOF while parsing a string at line 1 column 8");
    }

    #[test]
    fn a_refused_write_says_no_more_than_its_kind_unless_rights_are_missing() {
        let refused = |code: u16, reason: &str, message: &str| {
            kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
        };
        let invalid = refused(422, "Invalid", "Event \"a\" is invalid: note: Invalid value: \"hunter2\"");
        assert_eq!(write_error(&invalid), "refused: Invalid (code 422)");
        let denied = refused(403, "Forbidden", "admission webhook \"x\" denied the request: image hunter2");
        assert_eq!(write_error(&denied), "refused: Forbidden (code 403)");
        let rights = "events.events.k8s.io is forbidden: User \"system:serviceaccount:a:b\" cannot create resource";
        assert_eq!(write_error(&refused(403, "Forbidden", rights)), format!("{rights} (code 403)"));
        assert_eq!(
            read_error(&refused(404, "NotFound", "secrets \"a\" not found")),
            "secrets \"a\" not found (code 404)"
        );
        let away = kube::Error::Service(Box::new(io::Error::other("connection refused")));
        assert_eq!((write_error(&away), read_error(&away)), (causes(&away), causes(&away)));
        assert_eq!(causes(&away), "ServiceError: connection refused");
    }

    #[test]
    fn a_panic_tells_its_own_words_only() {
        fn caught(what: impl FnOnce() + std::panic::UnwindSafe) -> &'static str {
            said_by(&*std::panic::catch_unwind(what).unwrap_err())
        }
        assert_eq!(caught(|| panic!("a literal")), "a literal");
        let secret = String::from("hunter2");
        assert!(!caught(move || panic!("it was {secret}")).contains("hunter2"));
    }
}
