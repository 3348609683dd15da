use std::str::FromStr;
use std::time::Duration;

use foreman_daemon::{Backend, Echo, ListModels, Ollama, OpenAi};
use tower::ServiceExt as _;

use crate::exit::Failure;

/// Where Ollama listens unless it is told otherwise.
const USUAL: &str = "http://127.0.0.1:11434";

/// How long Ollama may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// What runs the jobs of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Echo,
    Ollama(String),
    OpenAi(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "echo" => Ok(Self::Echo),
            None if text == "ollama" => Ok(Self::Ollama(USUAL.to_owned())),
            Some(("ollama", url)) => Ok(Self::Ollama(url.to_owned())),
            Some(("openai", url)) => Ok(Self::OpenAi(url.to_owned())),
            _ => Err("must be echo, ollama, ollama=URL or openai=URL".to_owned()),
        }
    }
}

impl Choice {
    /// The backend, with the key that a server with OpenAI's API asks for.
    pub(crate) fn build(&self, key: Option<String>) -> Result<Backend, Failure> {
        if key.is_some() && !matches!(self, Self::OpenAi(_)) {
            return Err(Failure::Usage("only the backend openai=URL has a key".to_owned()));
        }
        Ok(match self {
            Self::Echo => Echo::new().into(),
            Self::Ollama(url) => Ollama::new(url)?.into(),
            Self::OpenAi(url) => {
                let builder = OpenAi::builder(url);
                key.into_iter().fold(builder, |builder, key| builder.api_key(key)).build()?.into()
            }
        })
    }
}

/// What a daemon uses that nobody chose anything for: Ollama if one answers (where `OLLAMA_HOST` says, or on its usual port), else
/// an echo; and in words which.
pub(crate) async fn found() -> (Backend, String) {
    let url = std::env::var("OLLAMA_HOST").ok().and_then(|host| url_of(&host)).unwrap_or_else(|| USUAL.to_owned());
    if let Ok(ollama) = Ollama::builder(&url).connect_timeout(PATIENCE).build()
        && let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, ollama.clone().oneshot(ListModels::default())).await
    {
        return (ollama.into(), format!("asks Ollama at {url}"));
    }
    (Echo::new().into(), format!("echoes, without a model, since no Ollama answers at {url}"))
}

/// What `OLLAMA_HOST` means: a URL, or `HOST:PORT` with the usual port left out.
fn url_of(host: &str) -> Option<String> {
    let host = host.trim();
    if host.is_empty() {
        return None;
    }
    if host.contains("://") {
        return Some(host.to_owned());
    }
    let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
    let host = host.replace("0.0.0.0", "127.0.0.1");
    Some(if bare { format!("http://{host}:11434") } else { format!("http://{host}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_chosen_by_name_and_url() {
        assert_eq!("echo".parse(), Ok(Choice::Echo));
        assert_eq!("ollama".parse(), Ok(Choice::Ollama(USUAL.to_owned())));
        assert_eq!("ollama=http://h:1".parse(), Ok(Choice::Ollama("http://h:1".to_owned())));
        assert_eq!("openai=http://h:1/v1?a=b".parse(), Ok(Choice::OpenAi("http://h:1/v1?a=b".to_owned())));
        for wrong in ["", "echo=1", "openai", "llama=http://h", "http://h"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_refused_where_it_would_not_be_sent() {
        assert!(matches!(Choice::Echo.build(Some("k".to_owned())), Err(Failure::Usage(_))));
        assert!(Choice::OpenAi("http://h".to_owned()).build(Some("k".to_owned())).is_ok());
    }

    #[test]
    fn ollamas_variable_is_read_as_ollama_reads_it() {
        for (host, url) in [
            ("gpu", Some("http://gpu:11434")),
            ("gpu:80", Some("http://gpu:80")),
            ("0.0.0.0", Some("http://127.0.0.1:11434")),
            ("[::1]", Some("http://[::1]:11434")),
            ("[::1]:80", Some("http://[::1]:80")),
            ("https://gpu", Some("https://gpu")),
            (" ", None),
        ] {
            assert_eq!(url_of(host).as_deref(), url, "{host}");
        }
    }
}
