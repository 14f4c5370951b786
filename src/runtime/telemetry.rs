//! Logs: structured, to standard error, without anything secret.
//!
//! What is logged are names, verdicts and errors. Request bodies, tokens, keys and policy documents are not.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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

/// Libraries that write a warning for what a client sends, such as an alert of TLS or a frame of HTTP/2, once for each:
/// whoever can connect could fill the log with them. What becomes of connections is counted.
const SILENT: [&str; 2] = ["rustls=off", "h2=off"];

/// Sets up logging for the whole process.
///
/// `level` is a level (`info`) or a filter (`info,kube=debug`). The environment variable `RUST_LOG` wins over it.
///
/// # Errors
/// When the filter does not parse, or when called twice.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let given = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()).unwrap_or_else(|| level.to_owned());
    let filter = filter(given)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    result.map_err(|_| TelemetryError::Twice)
}

/// What is given, but for what is [`SILENT`] whatever is given.
fn filter(given: String) -> Result<EnvFilter, TelemetryError> {
    match EnvFilter::try_new(&given) {
        Ok(filter) => Ok(SILENT.iter().filter_map(|text| text.parse().ok()).fold(filter, EnvFilter::add_directive)),
        Err(source) => Err(TelemetryError::Filter { given, source }),
    }
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
    use super::*;

    #[test]
    fn a_level_that_is_none_is_named() {
        let error = filter("info,kube=loud".to_owned()).unwrap_err();
        assert!(error.to_string().starts_with("`info,kube=loud` is no log level: "), "{error}");
    }

    #[test]
    fn libraries_that_strangers_could_make_talk_are_silent() {
        for given in ["info", "trace", "debug,rustls=trace,h2=trace"] {
            let text = filter(given.to_owned()).unwrap().to_string();
            let directives: Vec<&str> = text.split(',').collect();
            for silent in SILENT {
                assert!(directives.contains(&silent), "{text}");
            }
            assert!(!text.contains("rustls=trace") && !text.contains("h2=trace"), "{text}");
        }
    }
}
