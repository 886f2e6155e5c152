//! The live table of pods, as the aggregator sees them.
//!
//! Without `--url` the request goes through the API server's service proxy, with the caller's own credentials: the
//! aggregator's port needs no door of its own.

mod live;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use kube::Client;
use plimsoll_contract::keys;
use plimsoll_contract::status::{PodStatus, ResourceStatus};

use crate::args::{ClusterArgs, Sort, TopArgs};
use crate::connect::{self, Failure, Question};
use crate::table::{self, Row};

const READING: Question = Question {
    asked: "reading the pods from the aggregator",
    whom: "aggregator",
    right: "get services/proxy in namespace plimsoll-system",
    of_aggregator: true,
};

/// Where the pods come from.
pub struct Source {
    client: Client,
    path: String,
    question: Question,
}

impl Source {
    /// The URL that was typed, or else the aggregator's Service behind the cluster's API server.
    ///
    /// # Errors
    /// When nothing says which cluster.
    pub async fn new(cluster: &ClusterArgs, args: &TopArgs) -> Result<Source, Failure> {
        match &args.url {
            Some(url) => {
                let question = Question { of_aggregator: false, ..READING };
                Ok(Source { client: connect::plain(url.clone())?, path: "/v1/pods".into(), question })
            }
            None => Ok(Source::proxied(connect::cluster(cluster).await?)),
        }
    }

    /// The aggregator's Service behind the API server of `client`.
    pub fn proxied(client: Client) -> Source {
        let (namespace, service) = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR_HTTP);
        let path = format!("/api/v1/namespaces/{namespace}/services/{service}:9619/proxy/v1/pods");
        let question = Question { whom: "API server", ..READING };
        Source { client, path, question }
    }

    /// The pods as they are now.
    ///
    /// # Errors
    /// Why they cannot be had, and what to do.
    pub async fn pods(&self) -> Result<Vec<PodStatus>, Failure> {
        let request = http::Request::get(&self.path).body(Vec::new());
        let answer = async { self.client.request(request.map_err(kube::Error::HttpError)?).await };
        self.question.answer(answer).await
    }
}

/// Shows the pods: live on a terminal, else once as plain lines.
///
/// # Errors
/// A [`Failure`] of the first look, or one of writing to `out`. On a terminal later failures are shown in its last line.
pub async fn run(source: &Source, args: &TopArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let pods = source.pods().await?;
    if args.once || !io::stdout().is_terminal() {
        for line in table::lines(&rows(&pods, args, Timestamp::now())) {
            writeln!(out, "{line}")?;
        }
        return Ok(out.flush()?);
    }
    live::run(source, args, pods).await
}

/// The rows that were asked for, in the order that was asked for.
pub fn rows(pods: &[PodStatus], args: &TopArgs, now: Timestamp) -> Vec<Row> {
    let wanted =
        |pod: &&PodStatus| args.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace);
    let mut pods: Vec<_> = pods.iter().filter(wanted).collect();
    let name = |pod: &PodStatus| (pod.namespace.clone(), pod.name.clone());
    pods.sort_by(|a, b| {
        let load = match args.sort {
            Sort::Name => Ordering::Equal,
            Sort::Cpu => hotter(&a.cpu, &b.cpu),
            Sort::Memory => hotter(&a.memory, &b.memory),
        };
        load.then_with(|| name(a).cmp(&name(b)))
    });
    pods.into_iter().map(|pod| Row::new(pod, now)).collect()
}

/// The higher utilization first, the unknown last.
fn hotter(a: &ResourceStatus, b: &ResourceStatus) -> Ordering {
    let known = |status: &ResourceStatus| status.utilization.filter(|u| u.is_finite());
    match (known(a), known(b)) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
