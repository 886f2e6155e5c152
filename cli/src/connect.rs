//! The way to the API server, or to a URL; and failures with their cure.
//!
//! kube's own retries are off: a person at a terminal learns sooner what is wrong, and asks again.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_contract::keys;

use crate::args::ClusterArgs;

/// How long one request may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Characters of somebody else's words that are repeated: a proxy may answer a whole page.
const MOST_SAID: usize = 200;

/// Why something could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No kubeconfig, or not one that can be used.
    #[error("no cluster to ask: {0}; give --kubeconfig FILE, or check `kubectl config current-context`")]
    NoCluster(String),
    /// Nobody answered.
    #[error(
        "{asked}: nobody answered: {cause}; check that the {whom} is running and that this machine reaches it"
    )]
    Unreachable {
        /// What was asked.
        asked: &'static str,
        /// Who should have answered.
        whom: &'static str,
        /// What happened instead.
        cause: String,
    },
    /// Nobody answered in time.
    #[error("{0}: no answer within {secs} s; try again, or look at the load of the API server", secs = DEADLINE.as_secs())]
    Late(&'static str),
    /// The API server does not know who asks.
    #[error("{asked}: the API server does not accept your credentials ({said}); log in again")]
    Stranger {
        /// What was asked.
        asked: &'static str,
        /// The server's words.
        said: String,
    },
    /// Not allowed.
    #[error("{asked}: not allowed ({said}); ask for the right to `{right}`")]
    Forbidden {
        /// What was asked.
        asked: &'static str,
        /// What would be needed.
        right: &'static str,
        /// The server's words.
        said: String,
    },
    /// There is no aggregator.
    #[error(
        "{asked}: there is no Service {service} in namespace {namespace}; is Plimsoll installed here? \
         `kubectl apply -k manifests/overlays/minikube` installs it, --url names an aggregator elsewhere",
        service = keys::AGGREGATOR_HTTP, namespace = keys::SYSTEM_NAMESPACE
    )]
    NoAggregator {
        /// What was asked.
        asked: &'static str,
    },
    /// There is one, but it does not serve.
    #[error(
        "{asked}: the aggregator is not ready ({said}); \
         see `kubectl -n {namespace} get pods` and their logs", namespace = keys::SYSTEM_NAMESPACE
    )]
    NotReady {
        /// What was asked.
        asked: &'static str,
        /// The server's words.
        said: String,
    },
    /// Anything else that was answered.
    #[error("{asked}: {said}")]
    Refused {
        /// What was asked.
        asked: &'static str,
        /// The server's words.
        said: String,
    },
}

/// What is asked for, and what is needed to get it.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// In words: `listing pods`.
    pub asked: &'static str,
    /// Who answers: `API server` or `aggregator`.
    pub whom: &'static str,
    /// The right that the API server asks for.
    pub right: &'static str,
    /// Whether a missing or failing Service means that the aggregator is at fault.
    pub of_aggregator: bool,
}

impl Question {
    /// The answer to a request, or why there is none, in at most [`DEADLINE`].
    ///
    /// # Errors
    /// The failure with its cure.
    pub async fn answer<T>(self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(answer) => answer.map_err(|error| self.failure(&error)),
            Err(_) => Err(Failure::Late(self.asked)),
        }
    }

    /// What an error means for the person who asked.
    pub fn failure(self, error: &kube::Error) -> Failure {
        let asked = self.asked;
        let kube::Error::Api(status) = error else {
            return match error {
                kube::Error::SerdeError(error) => {
                    Failure::Refused { asked, said: format!("the {} answered nonsense: {error}", self.whom) }
                }
                error => Failure::Unreachable { asked, whom: self.whom, cause: causes(error) },
            };
        };
        let said: String = escaped(&status.message).chars().take(MOST_SAID).collect();
        match status.code {
            401 => Failure::Stranger { asked, said },
            403 => Failure::Forbidden { asked, right: self.right, said },
            404 if self.of_aggregator => Failure::NoAggregator { asked },
            502..=504 if self.of_aggregator => Failure::NotReady { asked, said },
            code => Failure::Refused { asked, said: format!("{said} ({code})") },
        }
    }
}

/// A client for the cluster.
///
/// # Errors
/// [`Failure::NoCluster`] when nothing says which cluster.
pub async fn cluster(args: &ClusterArgs) -> Result<Client, Failure> {
    let config = config(args).await.map_err(Failure::NoCluster)?;
    client(config)
}

/// The context of the kubeconfig that [`cluster`] takes, if there is one: for a person to recognize.
pub fn context(args: &ClusterArgs) -> Option<String> {
    let current = || match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).ok()?.current_context,
        None => Kubeconfig::read().ok()?.current_context,
    };
    args.context.clone().or_else(current)
}

/// A client without credentials for one plain URL.
///
/// # Errors
/// When the client cannot be built.
pub fn plain(url: http::Uri) -> Result<Client, Failure> {
    client(kube::Config::new(url))
}

fn client(mut config: kube::Config) -> Result<Client, Failure> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(|error| Failure::NoCluster(causes(&error)))
}

async fn config(args: &ClusterArgs) -> Result<kube::Config, String> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let read =
        |path: &PathBuf| Kubeconfig::read_from(path).map_err(|error| format!("{}: {error}", path.display()));
    match (&args.kubeconfig, &args.context) {
        (Some(path), _) => {
            kube::Config::from_custom_kubeconfig(read(path)?, &options).await.map_err(|error| causes(&error))
        }
        (None, Some(_)) => kube::Config::from_kubeconfig(&options).await.map_err(|error| causes(&error)),
        (None, None) => kube::Config::infer().await.map_err(|error| causes(&error)),
    }
}

/// An error and what caused it, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A text from elsewhere, made safe for a terminal: control characters, and those that turn the direction of writing,
/// are written as escapes.
pub fn escaped(text: &str) -> String {
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

    const TOP: Question = Question {
        asked: "reading pods",
        whom: "aggregator",
        right: "get services/proxy",
        of_aggregator: true,
    };

    fn told(question: Question, code: u16) -> String {
        let status = Status::failure("some \u{1b}[31mwords", "Reason").with_code(code);
        question.failure(&kube::Error::Api(Box::new(status))).to_string()
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
        for (code, cure) in table {
            let text = told(TOP, code);
            assert!(text.starts_with("reading pods: ") && text.contains(cure), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        let of_server = Question { of_aggregator: false, ..TOP };
        assert!(told(of_server, 404).contains("(404)"));
    }

    #[tokio::test]
    async fn without_a_kubeconfig_the_failure_names_the_file_and_the_flag() {
        let args = ClusterArgs { kubeconfig: Some("no/such/file".into()), context: None };
        let failure = cluster(&args).await.map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains("no/such/file") && failure.contains("--kubeconfig"), "{failure}");
    }

    #[test]
    fn the_context_is_the_one_that_was_asked_for_or_none_where_there_is_no_file() {
        let args = ClusterArgs { kubeconfig: Some("no/such/file".into()), context: Some("mine".into()) };
        assert_eq!(context(&args).as_deref(), Some("mine"));
        assert_eq!(context(&ClusterArgs { context: None, ..args }), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_given_up_on() {
        let failure = TOP.answer(std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(matches!(failure, Failure::Late("reading pods")));
    }

    #[test]
    fn control_characters_and_turned_writing_are_escaped_and_letters_are_not() {
        assert_eq!(escaped("caf\u{e9} \u{1b}[2J\n\u{202e}"), "caf\u{e9} \\u{1b}[2J\\n\\u{202e}");
    }
}
