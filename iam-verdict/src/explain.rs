//! Why a request was not granted.

use crate::request::{Environment, NearMiss, Request};

/// The statement that came closest to granting the request.
#[must_use]
pub fn nearest_miss(_env: &Environment, _request: &Request) -> Option<NearMiss> {
    None
}
