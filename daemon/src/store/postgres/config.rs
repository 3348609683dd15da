use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::Error;

/// How long a connection may take to open, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long without an acknowledgement of what was sent a connection is given up, unless the URL says otherwise. The system would
/// try for 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long an idle connection is probed, unless the URL says otherwise. One to a machine without power would be idle for ever.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// The pause between probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// After how many probes without an answer a connection is given up, on a system without [`USER_TIMEOUT`].
const KEEPALIVE_RETRIES: u32 = 2;

/// The time of the driver, which does not show whether the URL has one.
const DEFAULT_KEEPALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// What the database limits for a daemon: one that is cut off keeps no lock and no connection for longer.
///
/// There is an index for each statement, which has its order. The plans of prepared statements outlive the empty table for which they are
/// made, and for which the planner would rather read it all, or sort it.
const SESSION: &str = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s \
                       -c default_transaction_isolation=read\\ committed -c enable_seqscan=off -c enable_bitmapscan=off \
                       -c enable_sort=off -c jit=off -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 \
                       -c tcp_keepalives_count=2 -c tcp_user_timeout=15s";

/// The URL of a database. Its `Display` and `Debug` leave out the password.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(Config);

/// The session settings of connections whose calls may wait for the lock of a row. A lock is held for the time of a commit, unless its
/// session hangs. The short timeout then leaves the connections to calls that can succeed.
const LOCKING_SESSION: &str = "-c lock_timeout=500ms";

impl DatabaseUrl {
    /// What connections are opened with.
    pub(super) fn config(&self) -> Config {
        self.with(SESSION)
    }

    /// The configuration of connections whose calls may wait for the lock of a row.
    pub(super) fn locking_config(&self) -> Config {
        self.with(&format!("{SESSION} {LOCKING_SESSION}"))
    }

    fn with(&self, options: &str) -> Config {
        let mut config = self.0.clone();
        // The options of the URL come last, so that they override these.
        let options = config.get_options().map_or_else(|| options.to_owned(), |given| format!("{options} {given}"));
        config.options(options);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        if config.get_keepalives_idle() == DEFAULT_KEEPALIVE_IDLE {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_application_name().is_none() {
            config.application_name("foreman");
        }
        config
    }
}

/// A password with special characters is the likely cause, and the parts after it show what is left of it.
const INVALID: &str = "must be a URL such as postgres://user@host/database, with the special characters of the user and the password \
                       percent-encoded (`@` is `%40`)";

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let invalid = || Error::config("postgres", INVALID);
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        if !["postgres", "postgresql"].iter().any(|name| scheme.eq_ignore_ascii_case(name)) || !is_encoded(rest) {
            return Err(invalid());
        }
        let parsed: Result<Config, _> = format!("postgres://{rest}").parse();
        let config = parsed.map_err(|error| match has_password_parameter(rest) {
            // It may name a part of the password as an unknown option.
            true => invalid(),
            false => invalid().with_source(error),
        })?;
        if config.get_hosts().is_empty() {
            return Err(Error::config("postgres", "has no host"));
        }
        if !config.get_hosts().iter().all(is_valid) {
            return Err(invalid());
        }
        Ok(Self(config))
    }
}

/// Whether the user and the password have no character that ends a part of a URL. Otherwise a part of the password would be the host,
/// the database or an option, which errors and the log show.
fn is_encoded(url: &str) -> bool {
    let authority = url.split(['/', '?']).next().unwrap_or_default();
    !url.contains('#') && url.matches('@').count() == authority.matches('@').count().min(1)
}

fn has_password_parameter(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.to_ascii_lowercase().contains("pass"))
}

fn is_valid(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name.chars().all(|letter| letter.is_alphanumeric() || "-._:%".contains(letter)),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.0.get_user() {
            write!(f, "{user}@")?;
        }
        for (index, host) in self.0.get_hosts().iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            // One port may stand for all hosts.
            let ports = self.0.get_ports();
            if let Some(port) = ports.get(index).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_has_no_password() {
        for (url, display) in [
            ("postgres://u:secret@h:5433/d?connect_timeout=3", "postgres://u@h:5433/d"),
            ("postgresql://h1,h2/d?password=secret", "postgres://h1:5432,h2:5432/d"),
            ("Postgres://u:s%40%2F%23cret@[::1]/d", "postgres://u@::1:5432/d"),
            ("postgres://u:secret@%2Frun%2Fpostgresql/d", "postgres://u@/run/postgresql:5432/d"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (display.to_owned(), format!("DatabaseUrl({display})")));
        }
    }

    #[test]
    fn other_urls_are_refused_without_naming_a_password() {
        for url in [
            "",
            "jobs.db",
            "mysql://u:secret@h/d",
            "postgres://u:secret@h:x/d",
            "postgres:///d",
            "postgres://h/d?sslmod=1",
            "postgres://u:p@secret@h/d",
            "postgres://u:p@secret/w#rd@h/d",
            "postgres://u:p/secret@h/d",
            "postgres://u:p?secret=1@h/d",
            "postgres://u:p?secret@h/d",
            "postgres://u:p#secret@h/d",
            "postgres://u:p@h/d?password=p@secret",
            "postgres://u@h/d?password=p&secret=1",
            "postgres://u@h/d?password=p&secret",
            "postgres://u:p secret",
            "postgres://secret{/d",
        ] {
            let error = url.parse::<DatabaseUrl>().unwrap_err();
            assert_eq!(error.option(), Some("postgres"), "{url}");
            assert!(!crate::failure::failure(&error).contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn unknown_option_is_named() {
        let error = "postgres://h/d?sslmod=1".parse::<DatabaseUrl>().unwrap_err();
        assert!(crate::failure::failure(&error).contains("sslmod"), "{error:?}");
    }

    #[test]
    fn options_of_the_url_override_those_of_the_daemon() {
        let url: DatabaseUrl = "postgres://h/d?options=-c%20lock_timeout%3D1s".parse().unwrap();
        let options = url.config().get_options().unwrap().to_owned();
        assert!(
            options.starts_with("-c statement_timeout=10s ") && options.ends_with(" -c lock_timeout=1s"),
            "{options}"
        );
    }

    #[test]
    fn connections_to_a_silent_machine_are_given_up_unless_the_url_says_otherwise() {
        let limits = |url: &str| {
            let config = url.parse::<DatabaseUrl>().unwrap().config();
            let seconds = |time: Option<&Duration>| time.unwrap().as_secs();
            (
                seconds(config.get_connect_timeout()),
                seconds(config.get_tcp_user_timeout()),
                config.get_keepalives_idle().as_secs(),
                config.get_keepalives_interval().unwrap().as_secs(),
                config.get_keepalives_retries().unwrap(),
            )
        };
        assert_eq!(limits("postgres://h/d"), (5, 5, 10, 5, 2));
        let own = "postgres://h/d?connect_timeout=1&tcp_user_timeout=2&keepalives_idle=3&keepalives_interval=4&keepalives_retries=5";
        assert_eq!(limits(own), (1, 2, 3, 4, 5));
    }
}
