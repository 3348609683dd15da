use std::env;
use std::io::{self, IsTerminal as _};

use clap::Args;
use foreman_client::{Client, ClientBuilder};
use foreman_daemon::Daemon;

use crate::credentials::TokenArgs;
use crate::daemons::Daemons;
use crate::exit::Failure;
use crate::resume_command::ResumeCommand;
use crate::{backend, output};

/// The variable in place of `--url`.
const VARIABLE: &str = "FOREMAN_URL";

/// Separates the addresses of one queue. No URL contains it.
const ADDRESS_SEPARATOR: char = '|';

/// The daemons to use, and the token for them.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// The daemon's URL, such as http://127.0.0.1:11435. May be repeated to use several daemons; the variable then has a list,
    /// separated by commas or spaces. For daemons that share a queue, one value has their URLs, separated by `|`: a command uses the
    /// next one if one fails or does not respond. Without it, `submit`, `models` and `embed` use an embedded daemon on a terminal, and with
    /// --embedded
    #[arg(long = "url", value_name = "URL", env = VARIABLE, hide_env_values = true)]
    urls: Vec<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// Whether a command may start a daemon of its own.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EmbeddedArgs {
    /// Use an embedded daemon, which ends with the command. This is the default only without --url and FOREMAN_URL, and only if
    /// stdin or stderr is a terminal
    #[arg(long)]
    embedded: bool,
}

/// The daemons, or an embedded one if no URL was set.
pub(crate) struct Connection {
    pub(crate) daemons: Daemons,
    /// Stops when it is dropped.
    embedded: Option<Daemon>,
}

impl Connection {
    /// Whether the daemon, and so its jobs, end with this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }
}

impl ConnectionArgs {
    /// The command that waits again for a job. Not used without a URL.
    pub(crate) fn resume_command(&self) -> ResumeCommand {
        let (token_file, token) = self.token.source();
        ResumeCommand { url: self.urls().into_iter().next().unwrap_or_default(), token_file, token }
    }

    /// Whether there are several URLs.
    pub(crate) fn is_several(&self) -> bool {
        self.urls().len() > 1
    }

    fn is_from_environment(&self) -> bool {
        env::var(VARIABLE).is_ok_and(|value| self.urls == [value])
    }

    /// The URLs. Only the variable has several in one value, since a URL may contain a comma. An empty value counts as unset.
    fn urls(&self) -> Vec<String> {
        let is_separator = |character: char| character == ',' || character.is_whitespace();
        let splits = self.is_from_environment();
        // A space beside `|` separates nothing.
        let join = |value: &String| value.split(ADDRESS_SEPARATOR).map(str::trim).collect::<Vec<_>>().join("|");
        let values: Vec<_> = self.urls.iter().map(join).collect();
        let words = values.iter().flat_map(|value| value.split(move |found| splits && is_separator(found)));
        words.filter(|url| !url.is_empty()).map(str::to_owned).collect()
    }

    /// Connects to the daemons at the URLs, or starts an embedded daemon if that is wanted, or if there is no URL and a person sees
    /// the note about it. A script with a misspelled variable must not get a response of another backend.
    pub(crate) async fn connect_or_embed(
        self,
        EmbeddedArgs { embedded }: EmbeddedArgs,
        options: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Connection, Failure> {
        if embedded && !self.urls.is_empty() && !self.is_from_environment() {
            return Err(Failure::Usage("--embedded has its own daemon, and cannot be used with --url".to_owned()));
        }
        if !embedded && !self.urls().is_empty() {
            return Ok(Connection { daemons: self.connect(options).await?, embedded: None });
        }
        if !embedded && !io::stdin().is_terminal() && !io::stderr().is_terminal() {
            return Err(Failure::Usage(
                "no daemon URL; set --url or FOREMAN_URL, or use --embedded to run a daemon in this process".to_owned(),
            ));
        }
        let (backend, description) = backend::detect().await;
        let reason = if embedded { "" } else { "no --url or FOREMAN_URL; " };
        output::note(&format!("foreman: {reason}using an embedded daemon with {description}"));
        let daemon = Daemon::builder().backend(backend).start().await?;
        let client = options(Client::builder(daemon.url())).build().await?;
        Ok(Connection { daemons: Daemons::One(client), embedded: Some(daemon) })
    }

    /// Connects to the daemons at the URLs.
    pub(crate) async fn connect(self, options: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Daemons, Failure> {
        match <[Client; 1]>::try_from(self.connect_to_each(None, options).await?) {
            Ok([client]) => Ok(Daemons::One(client)),
            Err(clients) => Daemons::several(clients),
        }
    }

    /// Connects to the daemons at the URLs, each on its own, with this token or the one that is set.
    pub(crate) async fn connect_to_each(
        self,
        token: Option<String>,
        options: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Vec<Client>, Failure> {
        let urls = self.urls();
        if urls.is_empty() {
            return Err(Failure::Usage("no daemon URL; set --url or FOREMAN_URL".to_owned()));
        }
        let token = token.map_or_else(|| self.token.read(), |token| Ok(Some(token)))?;
        let mut clients = Vec::new();
        for url in urls {
            check(&url)?;
            let mut addresses = url.split(ADDRESS_SEPARATOR);
            let builder = Client::builder(addresses.next().unwrap_or_default());
            let mut builder = options(builder.other_addresses(addresses));
            if url.contains(ADDRESS_SEPARATOR) {
                // Only foreman's daemons share a queue, and they support idempotency keys.
                builder = builder.assume_idempotency();
            }
            if let Some(token) = &token {
                builder = builder.token(token);
            }
            clients.push(builder.build().await?);
        }
        Ok(clients)
    }
}

/// Names the mistakes of which an invalid URL says less.
fn check(url: &str) -> Result<(), Failure> {
    let is_part =
        |separator| url.split(separator).nth(1).is_some_and(|rest: &str| rest.trim_start().starts_with("http"));
    if url.split(ADDRESS_SEPARATOR).any(|address| address.trim().is_empty()) {
        return Err(Failure::Usage(format!("invalid --url: {url:?} has an empty address before or after a `|`")));
    }
    if is_part(',') {
        let reason = "for daemons with a queue each, repeat --url or set FOREMAN_URL to the list; for those that share a queue, separate";
        return Err(Failure::Usage(format!("invalid --url: {url:?} has several URLs; {reason} them by `|`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misused_separators_are_named() {
        for (url, expected) in [
            ("http://a|", "empty address"),
            ("|http://a", "empty address"),
            ("http://a,http://b", "has several URLs"),
            ("http://a, https://b", "has several URLs"),
        ] {
            assert!(matches!(check(url), Err(Failure::Usage(reason)) if reason.contains(expected)), "{url}");
        }
        for url in ["http://a", "http://a| http://b", "http://a/x,y"] {
            assert!(check(url).is_ok(), "{url}");
        }
    }
}
