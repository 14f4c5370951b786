//! The certificate of the webhook: made here or by somebody else, kept in a Secret, trusted by the `caBundle` of the
//! webhook configuration.
//!
//! - [`secret`] is what the Secret holds, and whether it may be served.
//! - [`plan`] decides what has to be written to the Secret, and why.
//! - [`manager`] looks again and again, writes, publishes and serves.
//! - [`notice`] tells people: an Event, and a condition of the Service.
//!
//! Any number of replicas keep the certificate at the same time. Each write of the Secret carries the resource version
//! that was read, so one writes and the others adopt what is there. `caBundle` is the Secret's `ca.crt` and nothing
//! else, so whoever applies it applies the same. A replica serves a certificate only once the configuration trusts it,
//! and what it served before stays trusted until no replica can be serving it any more.

pub mod manager;
pub mod notice;
pub mod plan;
pub mod secret;

pub use manager::{CertificateManager, KeeperState, Mode, Place};
pub use secret::{CertificateError, CertificateSecret, Loaded, Pair, trusted};
