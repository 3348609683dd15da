use super::killed::Hooks;
use super::member::Member;
use super::network::Network;
use super::postgres_server::PostgresServer;
use super::raw::accepted;

/// Waits until there is no session of the box.
const NO_SESSION: &str = "SET statement_timeout = '60s';
    DO 'BEGIN
        WHILE EXISTS (SELECT FROM pg_stat_activity WHERE application_name = ''far'') LOOP
            PERFORM pg_sleep(0.1);
            PERFORM pg_stat_clear_snapshot();
        END LOOP;
    END'";

/// The database gets no packet that would close a connection, as after a power loss. Many of them must not use its connections up.
pub(crate) async fn test() {
    let network = Network::new();
    let Some(server) = PostgresServer::start_in_network(network.left.process()) else { return };
    let schema = server.schema();
    let url = |name| server.url_at(network.left.address, &schema, name);
    let (_hooks, hook) = Hooks::start(network.left.router, |_| None).await;
    let mut far = Member::start(&network.right, &url("far"), "far").await;
    let job = accepted(&far.submit(&hook, "key").await);
    far.has_begun(1).await;
    let mut near = Member::start(&network.left, &url("near"), "near").await;
    network.cut();
    far.kill().await;
    near.has(&format!("began {job} 2")).await;
    let sessions = server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'far'");
    assert_ne!(sessions, "0", "the database has heard of the end");
    server.sql(NO_SESSION);
}
