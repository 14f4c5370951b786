//! One watch as a stream that never ends: events, and failures with a pause behind each.

use std::time::Duration;

use futures::{Stream, stream};
use hyper::body::Bytes;
use kube::Client;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::AnswerError;
use super::backoff::Backoff;
use super::event::Event;
use super::failure::{Failure, Step};
use super::kind::Kind;
use super::lines::Lines;
use super::object::Item;
use super::reader::{Line, Page, Reader, line};

/// What comes out of a watch.
#[derive(Debug)]
pub enum Signal {
    /// An object changed, or a list begins, goes on or ends.
    Event(Event<Item>),
    /// Something came that has no name, so that nothing can be done about it.
    Nameless,
    /// The watch stands, and there is no news.
    Works,
    /// The watch failed and tries again after a pause.
    Failed(Failure),
}

/// A watch that has stood for so long works, though nothing came.
const SETTLED: Duration = Duration::from_secs(5);

/// A watch that ends so soon is not begun again at once: it would go on like that.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a watch that should have ended is given to do so.
pub const MARGIN: Duration = Duration::from_secs(5);

/// So often it is looked whether an optional kind that is not there has come.
const LOOK_FOR_ABSENT: Duration = Duration::from_secs(10);

/// So often an optional kind that was there must not be there before it is gone: while its CustomResourceDefinition is
/// written anew, it may not be there for a moment.
const LOOKS: u32 = 3;

/// Watches all objects of one kind, for ever.
///
/// An optional kind that the API server does not have is a list without objects, again and again until it has; so is one
/// that it did not give out to us so far.
///
/// `timeout` is the seconds after which the API server ends a watch and it is taken up again where it stood. It bounds how
/// long a connection that died without a word (a failed load balancer) can go unnoticed.
pub fn watch(client: Client, kind: Kind, timeout: u32) -> impl Stream<Item = Signal> + Send {
    Watch::new(client, kind, timeout).signals()
}

struct Watch {
    reader: Reader,
    kind: Kind,
    /// Less than the kind's where its pages are too big.
    page_size: u32,
    timeout: u32,
    state: State,
    /// See [`SETTLED`] and [`SHORTEST`].
    settled: Duration,
    shortest: Duration,
    /// Routine failures do not count with the others: a list behind an outage need not wait for as long as the outage.
    backoffs: [Backoff; 2],
    pause: Option<Duration>,
    /// The versions that may be asked for.
    versions: Vec<&'static str>,
    /// So many of them the API server did not have.
    refused_versions: usize,
    /// The kind was there, and so often since then it was not.
    missed: Option<u32>,
}

/// Where a watch stands.
enum State {
    /// Before a list.
    ///
    /// A list and a watch behind it rather than a streaming list: this works on every API server, and pages bound the
    /// memory that a big list takes. It is a consistent read: after a restart no verdict is older than the restart.
    Begin,
    /// Before a page of it; the first one has no token.
    Page(Option<String>),
    /// In a page of it.
    Items(Page),
    /// Before a watch from this version.
    Listed {
        version: String,
        /// It was not given to us, so that whoever follows may have given up what the list had.
        refused: bool,
    },
    Watching(Running),
}

/// A watch that runs.
struct Running {
    version: String,
    lines: Lines,
    since: Instant,
    /// That it works was told, by an event or by itself.
    told: bool,
}

impl Watch {
    fn new(client: Client, kind: Kind, timeout: u32) -> Watch {
        Watch {
            reader: Reader::new(client),
            kind,
            page_size: kind.page_size.max(1),
            timeout,
            state: State::Begin,
            settled: SETTLED,
            shortest: SHORTEST,
            backoffs: <[Backoff; 2]>::default(),
            pause: None,
            versions: std::iter::once(kind.version).chain(kind.others.iter().copied()).collect(),
            refused_versions: 0,
            missed: None,
        }
    }

    fn signals(self) -> impl Stream<Item = Signal> + Send {
        stream::unfold(self, |mut watch| async move { Some((watch.next().await, watch)) })
    }

    async fn next(&mut self) -> Signal {
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(signal)) => return signal,
                Err(failure) => {
                    let [others, routine] = &mut self.backoffs;
                    let backoff = if failure.routine { routine } else { others };
                    self.pause = Some(backoff.next(Instant::now(), failure.pause).max(failure.asked));
                    return Signal::Failed(failure);
                }
            }
        }
    }

    /// Goes on by one step, which may have nothing to tell. A step that fails leads back to a list, unless it says where else.
    async fn step(&mut self) -> Result<Option<Signal>, Failure> {
        match std::mem::replace(&mut self.state, State::Begin) {
            State::Begin => {
                self.state = State::Page(None);
                Ok(Some(Signal::Event(Event::Init)))
            }
            State::Page(from) => match self.reader.list(&self.kind, None, self.page_size, from.as_deref()).await {
                Ok(page) => {
                    (self.refused_versions, self.missed) = (0, Some(0));
                    self.state = State::Items(page);
                    Ok(None)
                }
                // The whole list once more in smaller pages: the size is not to change within a list ("API Concepts",
                // Retrieving large results sets in chunks).
                Err(AnswerError::TooLarge(_)) if self.page_size > 1 => {
                    self.page_size /= 2;
                    Ok(None)
                }
                Err(error) if self.is_absent(&error) => self.absent(&error),
                Err(error) => Err(Failure::new(&self.kind, Step::List, &error)),
            },
            State::Items(mut page) => match (page.items.pop_front(), page.next) {
                (Some(bytes), next) => {
                    self.state = State::Items(Page { next, ..page });
                    Ok(Some(tell(Item::decode(&bytes), Event::InitApply)))
                }
                (None, Some(next)) => {
                    self.state = State::Page(Some(next));
                    Ok(None)
                }
                (None, None) => {
                    self.state = State::Listed { version: page.version, refused: false };
                    Ok(Some(Signal::Event(Event::InitDone)))
                }
            },
            State::Listed { version, refused } => {
                match self.reader.watch(&self.kind, &version, self.timeout).await {
                    // Back at the list, from the beginning.
                    Ok(_) if refused => {}
                    Ok(lines) => {
                        let running = Running { version, lines, since: Instant::now(), told: false };
                        self.state = State::Watching(running);
                    }
                    // 504 is how the API server says that it has never seen this version, which an etcd that was put
                    // back from a backup may not reach for long.
                    Err(error) if matches!(error.code(), Some(410 | 504)) => {
                        return Err(Failure::new(&self.kind, Step::Watch, &error));
                    }
                    // It is gone, or has another version now: the list tells.
                    Err(error) if self.is_absent(&error) => {
                        let failure = Failure::new(&self.kind, Step::Watch, &error);
                        return Err(Failure { routine: true, ..failure });
                    }
                    Err(error) => {
                        let failure = Failure::new(&self.kind, Step::Watch, &error);
                        self.state = State::Listed { version, refused: refused || failure.refused };
                        return Err(failure);
                    }
                }
                Ok(None)
            }
            State::Watching(running) => self.follow(running).await,
        }
    }

    /// Whether an answer says that an optional kind is not there. One that we had and may not have any more is another
    /// thing: what is known of it gets old.
    fn is_absent(&self, error: &AnswerError) -> bool {
        let code = error.code();
        self.kind.optional && (code == Some(404) || (code == Some(403) && self.missed.is_none()))
    }

    /// The kind is not there in this version: perhaps in another one. If in none, and not for a moment alone, it has no
    /// objects.
    fn absent(&mut self, error: &AnswerError) -> Result<Option<Signal>, Failure> {
        self.refused_versions += 1;
        if error.code() == Some(404) && self.refused_versions < self.versions.len() {
            let at = self.versions.iter().position(|version| *version == self.kind.version).unwrap_or(0);
            let next = self.versions.iter().cycle().nth(at + 1);
            self.kind.version = next.copied().unwrap_or(self.kind.version);
            self.state = State::Page(None);
            return Ok(None);
        }
        self.refused_versions = 0;
        if let Some(missed) = self.missed.as_mut().filter(|missed| **missed + 1 < LOOKS) {
            *missed += 1;
            return Err(Failure { routine: true, ..Failure::new(&self.kind, Step::List, error) });
        }
        self.missed = None;
        self.pause = Some(LOOK_FOR_ABSENT);
        Ok(Some(Signal::Event(Event::InitDone)))
    }

    /// Waits for what comes next in a watch that runs.
    async fn follow(&mut self, mut running: Running) -> Result<Option<Signal>, Failure> {
        // The API server ends it before.
        let end = running.since + Duration::from_secs(self.timeout.into()) + MARGIN;
        let wake = if running.told { end } else { end.min(running.since + self.settled) };
        let came = timeout_at(wake, running.lines.next()).await;
        let listed = |version| State::Listed { version, refused: false };
        match came {
            Ok(Ok(Some(bytes))) => self.take(running, &bytes),
            Ok(Ok(None)) if running.since.elapsed() >= self.shortest => {
                self.state = listed(running.version);
                Ok((!running.told).then_some(Signal::Works))
            }
            Ok(Ok(None)) => {
                let failure = Failure::ended(&self.kind, Step::Watch, "the API server ended it at once");
                self.state = listed(running.version);
                Err(Failure { routine: true, ..failure })
            }
            // Every connection ends at some time. Whether the next one can be had is what counts.
            Ok(Err(AnswerError::Transport(_))) if running.since.elapsed() >= self.shortest => {
                self.state = listed(running.version);
                Ok(None)
            }
            Ok(Err(AnswerError::Transport(why))) => {
                self.state = listed(running.version);
                Err(Failure::ended(&self.kind, Step::Watch, &why))
            }
            Ok(Err(error)) => Err(Failure::new(&self.kind, Step::Watch, &error)),
            Err(_) if Instant::now() >= end => {
                self.state = listed(running.version);
                Ok(None)
            }
            Err(_) => {
                self.state = State::Watching(Running { told: true, ..running });
                Ok(Some(Signal::Works))
            }
        }
    }

    /// Takes a line of a watch.
    fn take(&mut self, mut running: Running, bytes: &Bytes) -> Result<Option<Signal>, Failure> {
        let (object, event): (_, fn(Item) -> Event<Item>) = match line(bytes) {
            Ok(Line::Apply(object)) => (object, Event::Apply),
            Ok(Line::Delete(object)) => (object, Event::Delete),
            Ok(Line::Bookmark(version)) => {
                running.version = version.unwrap_or(running.version);
                let told = std::mem::replace(&mut running.told, true);
                self.state = State::Watching(running);
                return Ok((!told).then_some(Signal::Works));
            }
            Ok(Line::Other) => {
                self.state = State::Watching(running);
                return Ok(None);
            }
            // Whatever it is, nothing may have been missed: the list says how things are.
            Ok(Line::Error(status)) => {
                return Err(Failure::new(&self.kind, Step::Watch, &AnswerError::Status(status)));
            }
            Err(error) => return Err(Failure::new(&self.kind, Step::Watch, &error)),
        };
        let item = Item::decode(&object);
        if let Some(item) = &item {
            let Some(version) = item.raw().version() else {
                return Err(Failure::new(&self.kind, Step::Watch, &AnswerError::NoVersion));
            };
            version.clone_into(&mut running.version);
            running.told = true;
        }
        self.state = State::Watching(running);
        Ok(Some(tell(item, event)))
    }
}

fn tell(item: Option<Item>, event: fn(Item) -> Event<Item>) -> Signal {
    item.map_or(Signal::Nameless, |item| Signal::Event(event(item)))
}

#[cfg(test)]
mod tests;
