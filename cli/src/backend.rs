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

/// A value of `--backend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendSpec {
    name: Option<String>,
    kind: BackendKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BackendKind {
    Echo,
    Ollama(String),
    OpenAi(String),
}

impl FromStr for BackendSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A colon in the URL is after the equals sign.
        let (name, kind) = match text.split_once(':') {
            Some((name, kind)) if !name.contains('=') => (Some(name.to_owned()), kind),
            _ => (None, text),
        };
        let kind = match kind.split_once('=') {
            None if kind == "echo" => BackendKind::Echo,
            None if kind == "ollama" => BackendKind::Ollama(OLLAMA_URL.to_owned()),
            Some(("ollama", url)) => BackendKind::Ollama(url.to_owned()),
            Some(("openai", url)) => BackendKind::OpenAi(url.to_owned()),
            _ => {
                return Err(
                    "must be echo, ollama, ollama=URL or openai=URL, with NAME: before it if there are several"
                        .to_owned(),
                );
            }
        };
        Ok(Self { name, kind })
    }
}

impl BackendSpec {
    pub(crate) fn takes_key(&self) -> bool {
        matches!(self.kind, BackendKind::OpenAi(_))
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn is_echo(&self) -> bool {
        matches!(self.kind, BackendKind::Echo)
    }

    /// Builds the backend. Only `openai` takes a key, and `echo` has no limits.
    pub(crate) fn build(&self, key: Option<&str>, limits: &BackendLimits) -> Result<Backend, Failure> {
        let backend: Backend = match &self.kind {
            BackendKind::Echo => Echo::new().into(),
            BackendKind::Ollama(url) => limits.apply(Ollama::builder(url)).build()?.into(),
            BackendKind::OpenAi(url) => {
                let builder = limits.apply(OpenAi::builder(url));
                key.into_iter().fold(builder, |builder, key| builder.api_key(key)).build()?.into()
            }
        };
        Ok(self.name.iter().fold(backend, |backend, name| backend.name(name)))
    }
}

/// Builds all backends. `workers`: those of `--workers NAME=N`. The key is that of each `openai` among them.
pub(crate) fn build_all(
    specs: &[BackendSpec],
    key: Option<&str>,
    limits: &BackendLimits,
    workers: &[Workers],
) -> Result<Vec<Backend>, Failure> {
    if key.is_some() && !specs.iter().any(BackendSpec::takes_key) {
        return Err(Failure::Usage("a backend key requires --backend openai=URL".to_owned()));
    }
    let of_name = |name: &str| workers.iter().find(|workers| workers.backend.as_deref() == Some(name));
    for Workers { backend, .. } in workers {
        if let Some(name) = backend
            && !specs.iter().any(|spec| spec.name.as_ref() == Some(name))
        {
            return Err(Failure::Usage(format!("--workers {name}=N names no --backend")));
        }
    }
    let build = |spec: &BackendSpec| {
        let backend = spec.build(key, limits)?;
        let workers = spec.name.as_deref().and_then(of_name);
        Ok(workers.iter().fold(backend, |backend, workers| backend.workers(workers.number)))
    };
    specs.iter().map(build).collect()
}

/// A value of `--workers`: of one backend, or of each that has none of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workers {
    pub(crate) backend: Option<String>,
    pub(crate) number: usize,
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (backend, number) = match text.split_once('=') {
            Some((name, number)) => (Some(name.to_owned()), number),
            None => (None, text),
        };
        let number = number.parse().map_err(|_| "must be a number, or NAME=N for one backend".to_owned())?;
        Ok(Self { backend, number })
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
        let url = |url: &str| url.to_owned();
        for (text, name, kind) in [
            ("echo", None, BackendKind::Echo),
            ("ollama", None, BackendKind::Ollama(url(OLLAMA_URL))),
            ("ollama=http://h:1", None, BackendKind::Ollama(url("http://h:1"))),
            ("openai=http://h:1/v1?a=b", None, BackendKind::OpenAi(url("http://h:1/v1?a=b"))),
            ("gpu1:ollama=http://h:1", Some("gpu1"), BackendKind::Ollama(url("http://h:1"))),
            ("a:echo", Some("a"), BackendKind::Echo),
        ] {
            assert_eq!(text.parse(), Ok(BackendSpec { name: name.map(str::to_owned), kind }));
        }
        for invalid in ["", "echo=1", "openai", "llama=http://h", "http://h", "a:b:echo"] {
            assert!(invalid.parse::<BackendSpec>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn key_requires_openai() {
        let build = |specs: &[&str], workers: &[&str]| {
            let specs: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
            let workers: Vec<_> = workers.iter().map(|workers| workers.parse().unwrap()).collect();
            build_all(&specs, Some("k"), &BackendLimits::default(), &workers)
        };
        assert!(matches!(build(&["echo"], &[]), Err(Failure::Usage(_))));
        assert_eq!(build(&["a:openai=http://h", "b:echo"], &["2", "a=3"]).unwrap().len(), 2);
        assert!(
            matches!(build(&["a:openai=http://h"], &["b=3"]), Err(Failure::Usage(message)) if message.contains("b=N"))
        );
        assert!("a=b".parse::<Workers>().is_err());
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
