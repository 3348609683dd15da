use std::time::Duration;

use super::Builder;

/// A queue that several daemons share.
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
impl Builder {
    /// Stores jobs in a PostgreSQL database, by a URL such as `postgres://user:password@host/database`. Any number of daemons share its
    /// queue: each serves the API, runs jobs and sends webhooks. All of them should have the same options and tokens.
    ///
    /// The special characters of the user and the password must be percent-encoded, such as `@` as `%40`. A URL with another `@`, or with a
    /// `#`, is refused, since a part of the password would be taken for another part of the URL.
    ///
    /// The tables are created in the first schema of the search path (`public`, or that of `?options=-csearch_path%3Dname`), which must have
    /// no tables, views or sequences except those of extensions. Another one is refused and left as it is. PostgreSQL 14 or later is needed, a
    /// database with the encoding UTF8, and connections of its own: a pooler that shares them between transactions hides notifications.
    ///
    /// A connection is encrypted if the server supports it (`sslmode=prefer`, the default) or must be (`sslmode=require`). An
    /// encrypted one needs a certificate for the host of the URL, from an authority of the operating system or of
    /// [`postgres_roots`](Self::postgres_roots). There is no encryption without this check; `sslmode=disable` turns both off.
    ///
    /// A host that accepts no connection is given up after 5 s (`?connect_timeout=SECONDS`), and the next host of the URL is tried. A server
    /// that accepts a connection and does not answer is given up after twice that time, and a connection without an acknowledgement of what
    /// was sent after 5 s (`?tcp_user_timeout=SECONDS`, on Linux).
    ///
    /// Default: jobs are in memory.
    pub fn postgres(mut self, url: impl Into<String>) -> Self {
        self.postgres = Some(url.into());
        self
    }

    /// Adds root certificates (PEM) for the [database](Self::postgres). Those of the operating system are trusted too. Default: the
    /// operating system's only.
    pub fn postgres_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.postgres_roots = Some(pem.into());
        self
    }

    /// Sets the lease: how long the running jobs of a daemon stay its own without a renewal, by the clock of the
    /// [database](Self::postgres). The daemon renews it three times in that time. After it, other daemons run the jobs again, and the
    /// interrupted attempts count. A daemon that cannot reach the database for that long stops its running jobs. At least 1 s.
    /// Default: 30 s.
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// Sets the name under which operators see the daemon among those that share a [database](Self::postgres). It need not be unique,
    /// since daemons differ by an id. Default: the address that it listens on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}
