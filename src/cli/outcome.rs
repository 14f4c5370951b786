//! What a subcommand found out, and the exit code that says so.

use std::process::ExitCode;

/// What a subcommand found out, before it becomes an exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing was denied.
    Clean,
    /// Some verdict is `Deny` or some admission is `Rejected`.
    Denied,
    /// The input or the usage was bad; a message is on standard error.
    BadInput,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Clean => ExitCode::SUCCESS,
            Outcome::Denied => ExitCode::from(1),
            Outcome::BadInput => ExitCode::from(2),
        }
    }
}
