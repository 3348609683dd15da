use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use foreman_daemon::model_server::{ModelApi, ModelBackendBuilder};
use foreman_daemon::{Backend, Echo, ListModels, Ollama, OpenAi};
use tower::ServiceExt as _;

use crate::duration;
use crate::exit::Failure;

/// Ollama's default URL.
const OLLAMA_URL: &str = "http://127.0.0.1:11434";

/// How long [`detect`] waits for Ollama.
const DETECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The value of `--backend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendSpec {
    Echo,
    Ollama(String),
    OpenAi(String),
}

impl FromStr for BackendSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "echo" => Ok(Self::Echo),
            None if text == "ollama" => Ok(Self::Ollama(OLLAMA_URL.to_owned())),
            Some(("ollama", url)) => Ok(Self::Ollama(url.to_owned())),
            Some(("openai", url)) => Ok(Self::OpenAi(url.to_owned())),
            _ => Err("must be echo, ollama, ollama=URL or openai=URL".to_owned()),
        }
    }
}

impl BackendSpec {
    /// Builds the backend. Only `openai` takes a key, and `echo` has no limits.
    pub(crate) fn build(&self, key: Option<String>, limits: &BackendLimits) -> Result<Backend, Failure> {
        if key.is_some() && !matches!(self, Self::OpenAi(_)) {
            return Err(Failure::Usage("a backend key requires --backend openai=URL".to_owned()));
        }
        Ok(match self {
            Self::Echo => Echo::new().into(),
            Self::Ollama(url) => limits.apply(Ollama::builder(url)).build()?.into(),
            Self::OpenAi(url) => {
                let builder = limits.apply(OpenAi::builder(url));
                key.into_iter().fold(builder, |builder, key| builder.api_key(key)).build()?.into()
            }
        })
    }
}

/// The limits of the calls to a model server. Those that are not set are the daemon's.
#[derive(Debug, Default, Args)]
pub(crate) struct BackendLimits {
    /// The time limit for connecting to the model server [default: 5s]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    backend_connect_timeout: Option<Duration>,
    /// The time limit for the first part of a response, in which the server loads the model and reads the prompt; after it the job is
    /// retried [default: 10m]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    backend_first_stall: Option<Duration>,
    /// The time limit for each further part of a response; after it the job is retried [default: 2m]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    backend_stall: Option<Duration>,
    /// The time limit for a whole attempt, after which the job has failed, so that a model that never ends does not hold a worker
    /// [default: 1h]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    backend_attempt_timeout: Option<Duration>,
    /// The size limit of a response of the model server, in bytes as received [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    backend_response_limit: Option<usize>,
}

impl BackendLimits {
    fn apply<A: ModelApi>(&self, mut builder: ModelBackendBuilder<A>) -> ModelBackendBuilder<A> {
        if let Some(limit) = self.backend_connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        if let Some(limit) = self.backend_first_stall {
            builder = builder.first_stall(limit);
        }
        if let Some(limit) = self.backend_stall {
            builder = builder.stall(limit);
        }
        if let Some(limit) = self.backend_attempt_timeout {
            builder = builder.attempt_timeout(limit);
        }
        if let Some(bytes) = self.backend_response_limit {
            builder = builder.response_limit(bytes);
        }
        builder
    }
}

/// The backend of an embedded daemon, and its description: Ollama if it responds at `OLLAMA_HOST` or its default URL, and an echo
/// otherwise.
pub(crate) async fn detect() -> (Backend, String) {
    let url =
        std::env::var("OLLAMA_HOST").ok().and_then(|host| ollama_url(&host)).unwrap_or_else(|| OLLAMA_URL.to_owned());
    if let Ok(ollama) = Ollama::builder(&url).connect_timeout(DETECT_TIMEOUT).build()
        && let Ok(Ok(_)) = tokio::time::timeout(DETECT_TIMEOUT, ollama.clone().oneshot(ListModels::default())).await
    {
        return (ollama.into(), format!("Ollama at {url}"));
    }
    (Echo::new().into(), format!("the echo backend, without a model (Ollama is not reachable at {url})"))
}

/// The URL for a value of `OLLAMA_HOST`, which is a URL, `HOST:PORT` or `HOST`.
fn ollama_url(host: &str) -> Option<String> {
    let host = host.trim();
    if host.is_empty() {
        return None;
    }
    if host.contains("://") {
        return Some(host.to_owned());
    }
    let has_no_port = host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
    let host = host.replace("0.0.0.0", "127.0.0.1");
    Some(if has_no_port { format!("http://{host}:11434") } else { format!("http://{host}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_parsed() {
        assert_eq!("echo".parse(), Ok(BackendSpec::Echo));
        assert_eq!("ollama".parse(), Ok(BackendSpec::Ollama(OLLAMA_URL.to_owned())));
        assert_eq!("ollama=http://h:1".parse(), Ok(BackendSpec::Ollama("http://h:1".to_owned())));
        assert_eq!("openai=http://h:1/v1?a=b".parse(), Ok(BackendSpec::OpenAi("http://h:1/v1?a=b".to_owned())));
        for invalid in ["", "echo=1", "openai", "llama=http://h", "http://h"] {
            assert!(invalid.parse::<BackendSpec>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn key_requires_openai() {
        let limits = BackendLimits::default();
        assert!(matches!(BackendSpec::Echo.build(Some("k".to_owned()), &limits), Err(Failure::Usage(_))));
        assert!(BackendSpec::OpenAi("http://h".to_owned()).build(Some("k".to_owned()), &limits).is_ok());
    }

    #[test]
    fn ollama_host_is_parsed() {
        for (host, url) in [
            ("gpu", Some("http://gpu:11434")),
            ("gpu:80", Some("http://gpu:80")),
            ("0.0.0.0", Some("http://127.0.0.1:11434")),
            ("[::1]", Some("http://[::1]:11434")),
            ("[::1]:80", Some("http://[::1]:80")),
            ("https://gpu", Some("https://gpu")),
            (" ", None),
        ] {
            assert_eq!(ollama_url(host).as_deref(), url, "{host}");
        }
    }
}
