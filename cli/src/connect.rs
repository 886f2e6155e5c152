//! Clients for the API server or a URL, and failures with their remedy.
//!
//! kube's own retries are off: a person at a terminal wants to see the problem soon, and can run the command again.

use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_contract::keys;
use plimsoll_process::error::error_chain;

use crate::args::ClusterArgs;

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a server's message that are repeated: a proxy may answer with a whole page.
const MAX_MESSAGE: usize = 200;

/// Why a request failed, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {problem}")]
pub struct Failure {
    action: &'static str,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}; give --kubeconfig FILE, or check `kubectl config current-context`")]
    NoCluster(String),
    #[error("cannot reach the {server}: {cause}; check that it is running and that this machine reaches it")]
    Unreachable { server: &'static str, cause: String },
    #[error("no answer within {} s; try again, or check the load of the API server", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    #[error("the API server does not accept your credentials ({0}); log in again")]
    Unauthorized(String),
    #[error("not allowed ({message}); ask for the right to `{right}`")]
    Forbidden { message: String, right: &'static str },
    #[error(
        "there is no Service {} in namespace {}; is Plimsoll installed here? \
         `kubectl apply -k manifests/overlays/minikube` installs it, --url names an aggregator elsewhere",
        keys::AGGREGATOR_HTTP,
        keys::SYSTEM_NAMESPACE
    )]
    NoAggregator,
    #[error(
        "the aggregator is not ready ({0}); see `kubectl -n {namespace} get pods` and their logs. If they are well, a NetworkPolicy \
         may block the API server: use `kubectl port-forward` and --url",
        namespace = keys::SYSTEM_NAMESPACE
    )]
    NotReady(String),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A failure that has no remedy of its own.
    pub(crate) fn other(action: &'static str, problem: impl Into<String>) -> Failure {
        Failure { action, problem: Problem::Other(problem.into()) }
    }

    /// Whether the server did not answer at all.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self.problem, Problem::Unreachable { .. } | Problem::Timeout)
    }
}

/// What is requested of which server, for its failures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// Such as `listing pods`.
    pub(crate) action: &'static str,
    /// `API server` or `aggregator`.
    pub(crate) server: &'static str,
    /// The right that the API server requires.
    pub(crate) right: &'static str,
    /// Whether a 404 or 503 means that the aggregator's Service is missing or has no ready pod.
    pub(crate) through_service: bool,
}

impl Operation {
    pub(crate) const fn on_api_server(action: &'static str, right: &'static str) -> Operation {
        Operation { action, server: "API server", right, through_service: false }
    }

    /// Runs a request within [`REQUEST_TIMEOUT`].
    pub(crate) async fn run<T>(self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(result) => result.map_err(|error| self.failure(&error)),
            Err(_elapsed) => Err(Failure { action: self.action, problem: Problem::Timeout }),
        }
    }

    pub(crate) fn failure(self, error: &kube::Error) -> Failure {
        let problem = match error {
            kube::Error::Api(status) => {
                let message: String = escaped(&status.message).chars().take(MAX_MESSAGE).collect();
                match status.code {
                    401 => Problem::Unauthorized(message),
                    403 => Problem::Forbidden { message, right: self.right },
                    404 if self.through_service => Problem::NoAggregator,
                    502..=504 if self.through_service => Problem::NotReady(message),
                    code => Problem::Other(format!("{message} ({code})")),
                }
            }
            kube::Error::SerdeError(error) => {
                Problem::Other(format!("the {} sent an invalid response: {error}", self.server))
            }
            error if plimsoll_objects::is_too_large(error) => {
                Problem::Other(plimsoll_objects::describe(error))
            }
            error => Problem::Unreachable { server: self.server, cause: error_chain(error) },
        };
        Failure { action: self.action, problem }
    }
}

/// A client for the cluster.
///
/// # Errors
/// If no usable configuration says which cluster.
pub async fn cluster(args: &ClusterArgs) -> Result<Client, Failure> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = match (&args.kubeconfig, &args.context) {
        (Some(path), _) => match Kubeconfig::read_from(path) {
            Ok(file) => {
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|e| error_chain(&e))
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        },
        (None, Some(_)) => kube::Config::from_kubeconfig(&options).await.map_err(|e| error_chain(&e)),
        (None, None) => kube::Config::infer().await.map_err(|e| error_chain(&e)),
    };
    client(config.map_err(no_cluster)?)
}

/// The context of the kubeconfig that [`cluster`] uses, if there is one, so that a person can recognize the cluster.
pub fn context(args: &ClusterArgs) -> Option<String> {
    let current = || match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).ok()?.current_context,
        None => Kubeconfig::read().ok()?.current_context,
    };
    args.context.clone().or_else(current)
}

/// A client without credentials for one plain URL.
pub(crate) fn plain(url: http::Uri) -> Result<Client, Failure> {
    client(kube::Config::new(url))
}

fn client(mut config: kube::Config) -> Result<Client, Failure> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    plimsoll_objects::client(config).map_err(|error| no_cluster(error_chain(&error)))
}

fn no_cluster(cause: String) -> Failure {
    Failure { action: "connecting to the cluster", problem: Problem::NoCluster(cause) }
}

/// Text from outside, made safe for a terminal: control characters, and those that change the writing direction, are
/// written as escapes.
pub(crate) fn escaped(text: &str) -> String {
    let direction =
        |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() || direction(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    const READ_PODS: Operation = Operation {
        action: "reading pods",
        server: "aggregator",
        right: "get services/proxy",
        through_service: true,
    };

    fn message(operation: Operation, code: u16) -> String {
        let status = Status::failure("some \u{1b}[31mwords", "Reason").with_code(code);
        operation.failure(&kube::Error::Api(Box::new(status))).to_string()
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let table = [
            (401, "log in again"),
            (403, "get services/proxy"),
            (404, "kubectl apply -k"),
            (503, "get pods"),
            (500, "(500)"),
        ];
        for (code, remedy) in table {
            let text = message(READ_PODS, code);
            assert!(text.starts_with("reading pods: ") && text.contains(remedy), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        let on_api_server = Operation { through_service: false, ..READ_PODS };
        assert!(message(on_api_server, 404).contains("(404)"));
    }

    #[tokio::test]
    async fn without_a_kubeconfig_the_failure_names_the_file_and_the_flag() {
        let args = ClusterArgs { kubeconfig: Some("no/such/file".into()), context: None };
        let failure = cluster(&args).await.map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains("no/such/file") && failure.contains("--kubeconfig"), "{failure}");
    }

    #[test]
    fn the_context_is_the_requested_one_or_none_if_there_is_no_file() {
        let args = ClusterArgs { kubeconfig: Some("no/such/file".into()), context: Some("mine".into()) };
        assert_eq!(context(&args).as_deref(), Some("mine"));
        assert_eq!(context(&ClusterArgs { context: None, ..args }), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_a_timeout() {
        let failure = READ_PODS.run(std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(failure.is_unanswered());
        assert!(failure.to_string().starts_with("reading pods: no answer within 30 s;"), "{failure}");
    }

    #[test]
    fn control_characters_and_direction_marks_are_escaped_and_letters_are_not() {
        assert_eq!(escaped("caf\u{e9} \u{1b}[2J\n\u{202e}"), "caf\u{e9} \\u{1b}[2J\\n\\u{202e}");
    }
}
