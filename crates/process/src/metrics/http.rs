//! What an HTTP server counts. Filled by [`crate::http::serve`], registered by `main`.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many connections are open as may be.
    Full,
    /// As many connections of that address are open as may be.
    Address,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// There is no certificate to serve TLS with.
    NoCertificate,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Full, Self::Address, Self::Handshake, Self::NoCertificate];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Handshake => "handshake",
            Self::NoCertificate => "no_certificate",
        }
    }
}

/// The first digit of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// 1xx
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirection,
    /// 4xx
    ClientError,
    /// 5xx, and whatever is no status of HTTP
    ServerError,
}

impl StatusClass {
    const ALL: [Self; 5] =
        [Self::Informational, Self::Success, Self::Redirection, Self::ClientError, Self::ServerError];

    /// The class of a status.
    pub fn of(status: http::StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The value of the label `status`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// The counters of one HTTP server. A cheap clone.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    open: IntGauge,
    refused: IntCounterVec,
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
    /// If the prefix does not make a metric name, or is taken.
    pub fn register(registry: &Registry, prefix: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("{prefix}_http_{name}"), help);
        let metrics = Self {
            open: IntGauge::with_opts(opts("connections", "Open connections."))?,
            refused: IntCounterVec::new(
                opts("refused_total", "Connections not served, by reason."),
                &["reason"],
            )?,
            requests: IntCounterVec::new(
                opts("requests_total", "Requests answered, by class of status."),
                &["status"],
            )?,
            panics: IntCounter::with_opts(opts("panics_total", "Handlers that panicked."))?,
        };
        Refusal::ALL.iter().for_each(|reason| metrics.refused(*reason).inc_by(0));
        StatusClass::ALL.iter().for_each(|class| metrics.requests(*class).inc_by(0));
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Connections that are open now.
    pub fn open(&self) -> &IntGauge {
        &self.open
    }

    /// Connections that were not served for this reason.
    pub fn refused(&self, reason: Refusal) -> IntCounter {
        self.refused.with_label_values(&[reason.label()])
    }

    /// Requests that were answered with this class of status.
    pub fn requests(&self, class: StatusClass) -> IntCounter {
        self.requests.with_label_values(&[class.label()])
    }

    /// Handlers that panicked.
    pub fn panics(&self) -> &IntCounter {
        &self.panics
    }

    fn collectors(&self) -> [Box<dyn Collector>; 4] {
        [
            Box::new(self.open.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.requests.clone()),
            Box::new(self.panics.clone()),
        ]
    }
}
