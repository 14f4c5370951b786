//! Why an object does not decode.

/// Why an object does not decode. It says where and not what: the object may hold what no log may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Too deep, bytes that are no UTF-8, or no JSON.
    #[error(
        "it cannot be read from line {line}, column {column} on: it is nested too deeply there, or is no UTF-8 or no JSON"
    )]
    Json {
        /// From 1 on.
        line: usize,
        /// From 1 on, in bytes.
        column: usize,
    },
}

impl DecodeError {
    pub(super) fn of(error: &serde_json::Error) -> DecodeError {
        DecodeError::Json { line: error.line(), column: error.column() }
    }
}
