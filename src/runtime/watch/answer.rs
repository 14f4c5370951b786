//! Why the API server's answer is not what was asked for.

use std::time::Duration;

use super::cut::CutError;
use super::kind::NameError;
use crate::runtime::telemetry::{causes, is_about_rights};

/// A request that was not answered with what it asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// The API server answered, with an error.
    #[error("{} (code {})", .0.message, .0.code)]
    Status(Status),
    /// There was no answer, or it broke off. The text names the causes.
    #[error("{0}")]
    Transport(String),
    /// The answer, or a line of it, has more bytes than this.
    #[error("the answer has more than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The answer is something else.
    #[error("the answer is no {expected}: {error}")]
    Unexpected {
        /// What was asked for, such as `list`.
        expected: &'static str,
        /// What is wrong with it.
        error: CutError,
    },
    /// A list without what a watch begins from.
    #[error("the API server sends no resource version")]
    NoVersion,
    /// A name that no object can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request could not be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

/// What the API server says of a request that it does not fulfil.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// The HTTP code.
    pub code: u16,
    /// For people, one line.
    pub message: String,
    /// Try again after this; zero where nothing is said of it.
    pub retry_after: Duration,
}

impl AnswerError {
    /// The error of a client, with its causes.
    pub fn transport(error: &dyn std::error::Error) -> AnswerError {
        AnswerError::Transport(causes(error))
    }

    /// For the log, of a request that writes. A refusal quotes the object, by the API server or by a webhook of somebody
    /// else, so that its text is only told where rights are missing: that one is about who we are.
    pub fn of_write(&self) -> String {
        match self {
            AnswerError::Status(Status { code, message, .. }) if !is_about_rights(*code, message) => {
                format!("refused (code {code})")
            }
            error => error.to_string(),
        }
    }

    /// The code of the API server's answer, where it answered with an error.
    pub fn code(&self) -> Option<u16> {
        match self {
            AnswerError::Status(status) => Some(status.code),
            _ => None,
        }
    }
}

impl From<kube::core::request::Error> for AnswerError {
    fn from(error: kube::core::request::Error) -> AnswerError {
        AnswerError::Request(error.to_string())
    }
}
