//! Metrics of an HTTP server. Updated by [`crate::http::serve`], registered by `main`.

use ::http::StatusCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why a connection or a request was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The connection made room for another one: the maximum number was open.
    Full,
    /// The connection made room for another one from its address: the maximum number from this address was open.
    Address,
    /// The peer said nothing in time.
    Silent,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// There is no certificate to serve TLS with.
    NoCertificate,
    /// The maximum number of requests was in flight, from this address or in total.
    Requests,
}

impl Rejection {
    const ALL: [Self; 6] =
        [Self::Full, Self::Address, Self::Silent, Self::Handshake, Self::NoCertificate, Self::Requests];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Silent => "silent",
            Self::Handshake => "handshake",
            Self::NoCertificate => "no_certificate",
            Self::Requests => "requests",
        }
    }
}

/// Values of the label `status`: 1xx to 5xx. A status outside these counts as 5xx.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of one HTTP server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    open: IntGauge,
    rejected: IntCounterVec,
    requests: IntCounterVec,
    panics: IntCounter,
}

impl HttpMetrics {
    /// Registers `<prefix>_http_connections`, `<prefix>_http_refused_total{reason}`,
    /// `<prefix>_http_requests_total{status}` and `<prefix>_http_panics_total`. Every series exists from the start,
    /// at zero. A process with two servers needs two prefixes.
    ///
    /// # Errors
    ///
    /// If the prefix does not form metric names, or is registered already.
    pub fn register(registry: &Registry, prefix: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("{prefix}_http_{name}"), help);
        let rejected = opts("refused_total", "Connections and requests not served, by reason.");
        let requests = opts("requests_total", "Requests answered, by class of status.");
        let metrics = Self {
            open: IntGauge::with_opts(opts("connections", "Open connections."))?,
            rejected: IntCounterVec::new(rejected, &["reason"])?,
            requests: IntCounterVec::new(requests, &["status"])?,
            panics: IntCounter::with_opts(opts("panics_total", "Handlers that panicked."))?,
        };
        Rejection::ALL.iter().for_each(|reason| metrics.rejected(*reason).inc_by(0));
        STATUS_CLASSES.iter().for_each(|class| metrics.requests.with_label_values(&[*class]).inc_by(0));
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.panics.clone()))?;
        Ok(metrics)
    }

    /// Open connections.
    pub fn open(&self) -> &IntGauge {
        &self.open
    }

    /// Connections and requests that were not served for this reason.
    pub fn rejected(&self, reason: Rejection) -> IntCounter {
        self.rejected.with_label_values(&[reason.label()])
    }

    /// Requests that were answered with a status of the same class (first digit) as `status`.
    pub fn requests(&self, status: StatusCode) -> IntCounter {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        self.requests.with_label_values(&[STATUS_CLASSES[class.min(4)]])
    }

    /// Handlers that panicked.
    pub fn panics(&self) -> &IntCounter {
        &self.panics
    }
}
