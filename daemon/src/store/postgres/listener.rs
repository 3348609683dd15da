use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::feed::CHANGES;
use super::store::Shared;
use crate::store::StoreError;

/// A connection that receives the notifications of other daemons.
pub(super) struct Listener {
    pub(super) client: Client,
    /// Dropping the set closes the connection.
    pub(super) driver: JoinSet<Option<tokio_postgres::Error>>,
    pub(super) notified: Arc<Notify>,
    pub(super) channel: String,
    /// The statement [`CHANGES`].
    pub(super) changes: Statement,
    /// Notifies the channel.
    pub(super) notify: Statement,
}

impl Listener {
    pub(super) async fn open(shared: &Shared, config: &Config, tls: &MakeRustlsConnect) -> Result<Self, StoreError> {
        let (client, mut connection) = config.connect(tls.clone()).await?;
        let notified = Arc::new(Notify::new());
        let mut driver = JoinSet::new();
        let (wake, own) = (Arc::clone(&notified), Arc::clone(shared));
        driver.spawn(async move {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(message)))
                        if message.payload() == own.lease.id().to_string() => {}
                    Some(Ok(AsyncMessage::Notification(_))) => wake.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Some(error),
                    None => return None,
                }
            }
        });
        // A notification without a sync: if it is lost, polls find the change.
        client.batch_execute("SET synchronous_commit = off").await?;
        let channel: String = client.query_one("SELECT 'foreman_' || 'jobs'::regclass::oid", &[]).await?.get(0);
        let (changes, notify) = (client.prepare(CHANGES).await?, client.prepare("SELECT pg_notify($1, $2)").await?);
        client.batch_execute(&format!("LISTEN {channel}")).await?;
        Ok(Self { client, driver, notified, channel, changes, notify })
    }
}
