use std::net::SocketAddr;

use super::config::StoreConfig;
use crate::Error;
use crate::store::{Memory, Store, StoreOptions};

/// Opens the configured store. `address` names a daemon that has no other name.
pub(super) async fn open_store(
    config: &StoreConfig,
    address: SocketAddr,
    options: StoreOptions,
) -> Result<Box<dyn Store>, Error> {
    #[cfg(feature = "postgres")]
    if let Some(postgres) = &config.postgres {
        return open_postgres(postgres, address, options).await;
    }
    #[cfg(feature = "sqlite")]
    if let Some(path) = &config.path {
        return open_file(path.clone(), options).await;
    }
    let _ = (config, address);
    Ok(Box::new(Memory::new(options)))
}

#[cfg(feature = "sqlite")]
async fn open_file(path: std::path::PathBuf, options: StoreOptions) -> Result<Box<dyn Store>, Error> {
    use crate::store::{OpenError, Sqlite};
    // On a thread of its own, since it waits for the disk.
    let open = {
        let path = path.clone();
        move || Sqlite::open(&path, options)
    };
    let opened = tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(OpenError::open(error)));
    Ok(Box::new(opened.map_err(|error| Error::store(&path, error))?))
}

#[cfg(feature = "postgres")]
async fn open_postgres(
    config: &super::config::PostgresConfig,
    address: SocketAddr,
    options: StoreOptions,
) -> Result<Box<dyn Store>, Error> {
    use crate::store::{Membership, Postgres};
    let tls = crate::tls::config(config.roots.with_system());
    let tls = tls.map_err(|error| Error::config("postgres_roots", "cannot be used").with_source(error))?;
    let membership = Membership {
        lease: config.lease,
        name: config.name.clone().unwrap_or_else(|| address.to_string()),
        options: config.options.clone(),
    };
    let opened = Postgres::open(&config.url, tls, membership, options).await;
    Ok(Box::new(opened.map_err(|error| Error::database(&config.url, error))?))
}
