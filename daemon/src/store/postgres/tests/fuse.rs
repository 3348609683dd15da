//! Statements and transactions of a schema that fail.

use tokio_postgres::Client;

/// Each `every`th write fails, and each `commits`th transaction that changes a job fails at its end. Sequences are not rolled back.
pub(super) const FUSE: &str =
    "CREATE SEQUENCE writes; CREATE SEQUENCE commits; CREATE TABLE fuse (every bigint, commits bigint);
    INSERT INTO fuse VALUES (1000000, 1000000);
    CREATE FUNCTION burn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('writes') % (SELECT every FROM fuse) = 0 THEN RAISE EXCEPTION 'fuse'; END IF;
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END $$;
    CREATE FUNCTION burn_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('commits') % (SELECT commits FROM fuse) = 0 THEN RAISE EXCEPTION 'fuse at the end'; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER burn BEFORE INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION burn();
    CREATE TRIGGER burn BEFORE INSERT OR UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION burn();
    CREATE TRIGGER burn BEFORE INSERT OR UPDATE OR DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION burn();
    CREATE TRIGGER burn BEFORE UPDATE ON owners FOR EACH ROW EXECUTE FUNCTION burn();
    CREATE CONSTRAINT TRIGGER burn_late AFTER INSERT OR UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION burn_late()";

pub(super) async fn set_fuse(client: &Client, every: i64, commits: i64) {
    client.execute("UPDATE fuse SET every = $1, commits = $2", &[&every, &commits]).await.unwrap();
}
