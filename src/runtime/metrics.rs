//! The metrics of the program, in OpenMetrics text.
//!
//! No label holds a namespace, a pod or anything else that a tenant can make many of: every label here has a fixed set
//! of values. What is wrong with which pod is in the status of the policies.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Seconds: from what a review in memory takes to what `timeoutSeconds` of a webhook can be at most.
const BUCKETS: [f64; 15] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of `ecr_access_reviews_total`.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReviewLabels {
    /// The webhook's name, such as `pods.ecraccess.dev`.
    pub webhook: &'static str,
    /// `Allow`, `Deny`, `Unknown` or `NotSelected`.
    pub verdict: String,
    /// `Admitted`, `Warned` or `Rejected`.
    pub admission: String,
    /// Why, one of a fixed list of words.
    pub reason: String,
}

/// The label of what is counted per webhook.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WebhookLabels {
    /// The webhook's name.
    pub webhook: &'static str,
}

/// The label of what is counted per outcome.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OutcomeLabels {
    /// One of a fixed list of words.
    pub outcome: &'static str,
}

/// The label of what is counted by who calls.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CallerLabels {
    /// `api_server` or `other`.
    pub caller: &'static str,
}

/// The metrics of the webhook and of the process; other parts add theirs with [`Metrics::register`].
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// `ecr_access_reviews_total`: reviews answered.
    pub reviews: Family<ReviewLabels, Counter>,
    /// `ecr_access_review_duration_seconds`: from the first byte of the request to the answer.
    pub review_duration: Family<WebhookLabels, Histogram, fn() -> Histogram>,
    /// `ecr_access_reviews_in_flight`: requests being worked on.
    pub in_flight: Gauge,
    /// `ecr_access_request_bytes_in_flight`: the part of the memory budget that is taken by bodies.
    pub bytes_in_flight: Gauge,
    /// `ecr_access_requests_refused_total`: requests without a review as their answer, by outcome: `too_large` (413),
    /// `malformed` (400), `slow` (408), `overloaded` (429), `share` (429: the caller is no API server and has its share).
    pub refused: Family<OutcomeLabels, Counter>,
    /// `ecr_access_confirmations_total`: fresh reads before a rejection, by outcome: `confirmed`, `changed` (memory was
    /// behind and another verdict came out), `failed`.
    pub confirmations: Family<OutcomeLabels, Counter>,
    /// `ecr_access_exempted_admissions_total`: pods admitted that would have been refused but for an exemption.
    pub exempted: Counter,
    /// `ecr_access_tls_connections_total`: connections by outcome: `accepted`, `failed` (handshake), `timeout` (handshake),
    /// `silent` (no request came), `evicted` (to make room for another), `shed` (no room).
    pub connections: Family<OutcomeLabels, Counter>,
    /// `ecr_access_admin_connections_total`: the same of the admin port, where there is no handshake.
    pub admin_connections: Family<OutcomeLabels, Counter>,
    /// `ecr_access_calls_total`: requests of the webhook port by who makes them: `api_server`, by an address that is known
    /// for one, or `other`.
    pub calls: Family<CallerLabels, Counter>,
    /// `ecr_access_api_server_addresses`: addresses of API servers that were found in the cluster.
    pub api_server_addresses: Gauge,
    /// `ecr_access_certificate_expiry_timestamp_seconds`: Unix time at which the served certificate expires.
    pub certificate_expiry: Gauge<f64, AtomicU64>,
    /// `ecr_access_certificate_errors_total`: attempts to load, write or publish the certificate that failed.
    pub certificate_errors: Counter,
    /// `ecr_access_certificate_usable`: 1, or 0 while what the Secret holds cannot be put into service.
    pub certificate_usable: Gauge,
    /// `ecr_access_certificate_unusable_total`: times that the Secret was found to hold what cannot be used.
    pub certificate_unusable: Counter,
    /// `ecr_access_certificate_swaps_total`: certificates put into service.
    pub certificate_swaps: Counter,
}

impl Metrics {
    /// All metrics, registered, at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("ecr_access");
        let metrics = Metrics {
            registry: Arc::default(),
            reviews: Family::default(),
            review_duration: Family::new_with_constructor(histogram),
            in_flight: Gauge::default(),
            bytes_in_flight: Gauge::default(),
            refused: Family::default(),
            confirmations: Family::default(),
            exempted: Counter::default(),
            connections: Family::default(),
            admin_connections: Family::default(),
            calls: Family::default(),
            api_server_addresses: Gauge::default(),
            certificate_expiry: Gauge::default(),
            certificate_errors: Counter::default(),
            certificate_usable: Gauge::default(),
            certificate_unusable: Counter::default(),
            certificate_swaps: Counter::default(),
        };
        // Counters are registered without `_total`, which the text format adds.
        registry.register("reviews", "Admission reviews answered", metrics.reviews.clone());
        registry.register(
            "review_duration_seconds",
            "Time from the first byte of an admission review to its answer",
            metrics.review_duration.clone(),
        );
        registry.register("reviews_in_flight", "Admission reviews being worked on", metrics.in_flight.clone());
        registry.register(
            "request_bytes_in_flight",
            "Bytes of request bodies that are held in memory",
            metrics.bytes_in_flight.clone(),
        );
        registry.register("requests_refused", "Requests answered without a review", metrics.refused.clone());
        registry.register(
            "confirmations",
            "Fresh reads of the API server before a rejection",
            metrics.confirmations.clone(),
        );
        registry.register(
            "exempted_admissions",
            "Pods admitted that would have been refused but for an exemption of their policy",
            metrics.exempted.clone(),
        );
        registry.register("tls_connections", "TLS connections by outcome", metrics.connections.clone());
        registry.register(
            "admin_connections",
            "Connections of the admin port by outcome",
            metrics.admin_connections.clone(),
        );
        registry.register("calls", "Requests of the webhook port by who makes them", metrics.calls.clone());
        registry.register(
            "api_server_addresses",
            "Addresses of API servers that were found in the cluster",
            metrics.api_server_addresses.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Unix time at which the served certificate expires, 0 while none is loaded",
            metrics.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_errors",
            "Attempts to load, write or publish the certificate that failed",
            metrics.certificate_errors.clone(),
        );
        registry.register(
            "certificate_usable",
            "Whether what the Secret of the certificate holds is or can be in service: 1 or 0",
            metrics.certificate_usable.clone(),
        );
        registry.register(
            "certificate_unusable",
            "Times that the Secret of the certificate was found to hold what cannot be used",
            metrics.certificate_unusable.clone(),
        );
        registry.register("certificate_swaps", "Certificates put into service", metrics.certificate_swaps.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program", build);
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    /// Lets another part add its metrics. Names get the prefix `ecr_access_`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Everything in the text format of OpenMetrics.
    ///
    /// # Errors
    /// When a metric cannot be written, which would be a mistake in its definition.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(out)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_documented_ones() {
        let metrics = Metrics::new();
        let labels = ReviewLabels {
            webhook: "pods.ecraccess.dev",
            verdict: "Deny".to_owned(),
            admission: "Rejected".to_owned(),
            reason: "ActionDenied".to_owned(),
        };
        metrics.reviews.get_or_create(&labels).inc();
        metrics.review_duration.get_or_create(&WebhookLabels { webhook: "pods.ecraccess.dev" }).observe(0.003);
        metrics.certificate_expiry.set(1_800_000_000.0);
        metrics.refused.get_or_create(&OutcomeLabels { outcome: "too_large" }).inc();
        metrics.exempted.inc();
        let text = metrics.text().unwrap();
        for line in [
            r#"ecr_access_reviews_total{webhook="pods.ecraccess.dev",verdict="Deny",admission="Rejected",reason="ActionDenied"} 1"#,
            r#"ecr_access_review_duration_seconds_bucket{le="0.005",webhook="pods.ecraccess.dev"} 1"#,
            r#"ecr_access_review_duration_seconds_bucket{le="10.0",webhook="pods.ecraccess.dev"} 1"#,
            r#"ecr_access_requests_refused_total{outcome="too_large"} 1"#,
            "ecr_access_certificate_expiry_timestamp_seconds 1800000000.0",
            "ecr_access_reviews_in_flight 0",
            "ecr_access_exempted_admissions_total 1",
            concat!("ecr_access_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn other_parts_add_metrics_under_the_same_prefix() {
        let metrics = Metrics::new();
        let counter: Counter = Counter::default();
        metrics.clone().register(|registry| registry.register("things", "Things", counter.clone()));
        counter.inc();
        assert!(metrics.text().unwrap().contains("ecr_access_things_total 1"));
    }
}
