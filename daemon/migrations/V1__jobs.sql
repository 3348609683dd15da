CREATE SEQUENCE versions;

-- The daemons that share this queue. A daemon renews its lease; the jobs that it runs are leased to it as long as its row is here.
CREATE TABLE boxes (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz NOT NULL,
    -- How long the lease was when it was renewed.
    lease interval NOT NULL,
    -- It takes no jobs.
    draining boolean NOT NULL DEFAULT false,
    -- Its backends with their models, as JSON. Unknown until one of them has listed its models.
    backends text,
    -- The options that all daemons should have in common, as JSON, without secrets.
    options text,
    -- The daemons find changes of this table by it. A renewal is none.
    version bigint NOT NULL DEFAULT nextval('versions')
);

CREATE FUNCTION note_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('versions');
    RETURN NEW;
END $$;
CREATE TRIGGER note_version BEFORE UPDATE ON boxes
    FOR EACH ROW WHEN ((OLD.draining, OLD.backends) IS DISTINCT FROM (NEW.draining, NEW.backends))
    EXECUTE FUNCTION note_version();

CREATE FUNCTION note_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lease := CASE WHEN NEW.leased_until > clock_timestamp() THEN NEW.leased_until - clock_timestamp() ELSE interval '0' END;
    RETURN NEW;
END $$;
CREATE TRIGGER note_lease BEFORE INSERT OR UPDATE OF leased_until ON boxes FOR EACH ROW EXECUTE FUNCTION note_lease();

-- Ends the leases that have not been renewed. One that is longer than it was at first is from before the clock was set back.
CREATE FUNCTION end_leases() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    DELETE FROM boxes WHERE id IN (SELECT id FROM boxes
        WHERE leased_until < clock_timestamp() OR leased_until > clock_timestamp() + 2 * lease
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- The tokens, by their digests. Each change of the queue of a token first locks the row of the token, and then rows of jobs.
CREATE TABLE owners (
    owner bytea PRIMARY KEY,
    queued bigint NOT NULL DEFAULT 0,
    -- The tokens take turns in this order. It is the number of the last turn, or of when the queue of the token had its first job.
    turn bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The queue of a token without a row would never be looked at.
CREATE FUNCTION refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the token has queued jobs';
END $$;
CREATE TRIGGER refuse_deletion BEFORE DELETE ON owners
    FOR EACH ROW WHEN (OLD.queued > 0) EXECUTE FUNCTION refuse_deletion();

-- The models of which a token may have queued jobs, with the turn of the token. A row changes only with the lock of the token. It is found
-- by the turn, so that the dead versions of earlier turns are not looked at.
CREATE TABLE waiting (
    owner bytea,
    turn bigint,
    model text,
    PRIMARY KEY (owner, turn, model)
);
CREATE INDEX waiting_by_model ON waiting (model, turn, owner);
CREATE INDEX waiting_by_turn ON waiting (turn, owner);

CREATE SEQUENCE turns;
CREATE SEQUENCE places;

CREATE TABLE jobs (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE CHECK (id <> ''),
    owner bytea NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    model text NOT NULL,
    priority smallint NOT NULL DEFAULT 0,
    -- When it fails if no attempt has counted.
    start_by timestamptz,
    -- The order of queued jobs of one priority.
    place bigint NOT NULL DEFAULT nextval('places'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    -- How often it was started. It fences the outcomes of earlier attempts.
    attempt bigint NOT NULL DEFAULT 0,
    -- How many attempts count.
    spent bigint NOT NULL DEFAULT 0,
    -- The daemon that runs it.
    box uuid,
    -- Until it ends.
    body bytea,
    result text,
    -- Of the last attempt, until the job ends.
    error text,
    artifacts text,
    webhook text,
    -- Scheme, host and port of the webhook.
    destination text,
    traceparent bytea,
    -- The token, and then the idempotency key. In one column, no other index can seem to be as good to the planner.
    key bytea,
    digest bytea,
    event_stream text,
    -- The transaction that changed the state or the attempt last. Daemons find the changes of others by it.
    changed bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    CHECK (webhook IS NULL OR destination IS NOT NULL)
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, number);
CREATE INDEX jobs_queued ON jobs (owner, priority DESC, place) WHERE state = 'queued';
CREATE INDEX jobs_queued_by_model ON jobs (owner, model, priority DESC, place) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (box) WHERE state = 'running';
CREATE INDEX jobs_by_deadline ON jobs (start_by) WHERE start_by IS NOT NULL AND state = 'queued' AND spent = 0;
CREATE INDEX jobs_by_end ON jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_by_change ON jobs (changed, number);

-- The events that are not delivered yet.
CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
    id text NOT NULL,
    state text NOT NULL,
    attempt bigint NOT NULL,
    started_at timestamptz
);
CREATE INDEX events_by_job ON events (number, seq);

-- The jobs with such events, which are sent one at a time. A row changes only in transactions that have locked its job, or by claims.
CREATE TABLE outbox (
    number bigint PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    destination text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whether it is due. A claim marks the events whose time has come, so that a search for another destination never reads those that wait
    -- for their next attempt.
    ready boolean NOT NULL DEFAULT true,
    -- How many attempts the first event had.
    sent bigint NOT NULL DEFAULT 0,
    -- The daemon that sends it.
    box uuid
);
CREATE INDEX outbox_ready ON outbox (due_at, number) WHERE box IS NULL AND ready;
CREATE INDEX outbox_by_destination ON outbox (destination, due_at, number) WHERE box IS NULL AND ready;
CREATE INDEX outbox_later ON outbox (due_at, number) WHERE box IS NULL AND NOT ready;
CREATE INDEX outbox_claimed ON outbox (box) WHERE box IS NOT NULL;

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE TRIGGER note_change BEFORE UPDATE OF state, attempt ON jobs FOR EACH ROW EXECUTE FUNCTION note_change();

-- Records the event of a state in the transaction that enters it.
CREATE FUNCTION record_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (number, id, state, attempt, started_at)
    VALUES (NEW.number, 'msg_' || replace(gen_random_uuid()::text, '-', ''), NEW.state, NEW.attempt, NEW.started_at);
    INSERT INTO outbox (number, destination) VALUES (NEW.number, NEW.destination) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER record_first_event AFTER INSERT ON jobs
    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL) EXECUTE FUNCTION record_event();
CREATE TRIGGER record_event AFTER UPDATE OF state ON jobs
    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL AND OLD.state <> NEW.state) EXECUTE FUNCTION record_event();

-- Counts jobs of a model that have come to the queue of a token, or have left it.
CREATE FUNCTION count_queued(of_owner bytea, of_model text, more bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_turn bigint;
    rest bigint;
BEGIN
    UPDATE owners SET queued = queued + more, turn = CASE WHEN queued = 0 THEN nextval('turns') ELSE turn END
    WHERE owner = of_owner RETURNING turn, queued INTO of_turn, rest;
    IF more > 0 THEN
        INSERT INTO waiting (owner, model, turn) VALUES (of_owner, of_model, of_turn) ON CONFLICT DO NOTHING;
    ELSIF rest = 0 THEN
        DELETE FROM waiting WHERE owner = of_owner AND turn = of_turn;
    END IF;
END $$;

-- The queue is counted once for each statement, token and model, so that the cost of a statement is linear in its jobs, and in the order of
-- the tokens, so that statements that change the queues of several tokens do not lock each other out.
CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_queued(owner, model, more) FROM (
        SELECT owner, model, count(*) AS more FROM inserted WHERE state = 'queued'
        GROUP BY owner, model ORDER BY owner, model) AS changes;
    RETURN NULL;
END $$;
CREATE TRIGGER count_inserted AFTER INSERT ON jobs
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION count_inserted();

CREATE FUNCTION count_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_queued(owner, model, more) FROM (
        SELECT owner, model, sum(one)::bigint AS more FROM (
            SELECT owner, model, 1 AS one FROM after_update WHERE state = 'queued'
            UNION ALL SELECT owner, model, -1 FROM before_update WHERE state = 'queued') AS each
        GROUP BY owner, model HAVING sum(one) <> 0 ORDER BY owner, model) AS changes;
    RETURN NULL;
END $$;
CREATE TRIGGER count_updated AFTER UPDATE ON jobs
    REFERENCING OLD TABLE AS before_update NEW TABLE AS after_update FOR EACH STATEMENT EXECUTE FUNCTION count_updated();

CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_queued(owner, model, less) FROM (
        SELECT owner, model, -count(*) AS less FROM deleted WHERE state = 'queued'
        GROUP BY owner, model ORDER BY owner, model) AS changes;
    RETURN NULL;
END $$;
CREATE TRIGGER count_deleted AFTER DELETE ON jobs
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION count_deleted();

CREATE FUNCTION count_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE owners SET queued = 0 WHERE queued <> 0;
    DELETE FROM waiting;
    RETURN NULL;
END $$;
CREATE TRIGGER count_truncated AFTER TRUNCATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION count_truncated();

-- Gives a token whose row is locked the turn after those of all that wait. One that does not wait gets it with its next job.
CREATE FUNCTION end_turn(of_owner bytea, of_turn bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next bigint := nextval('turns');
BEGIN
    UPDATE owners SET turn = next WHERE owner = of_owner AND queued > 0;
    IF FOUND THEN
        UPDATE waiting SET turn = next WHERE owner = of_owner AND turn = of_turn;
    END IF;
END $$;

-- The first queued job of a token, of these models or of all. The row of the token is locked, so that nobody else starts a job of it.
CREATE FUNCTION first_job(of_owner bytea, of_turn bigint, models text[]) RETURNS jobs LANGUAGE plpgsql AS $$
DECLARE
    found jobs;
    name text;
    other jobs;
BEGIN
    IF models IS NULL THEN
        SELECT * INTO found FROM jobs
        WHERE owner = of_owner AND state = 'queued' AND (start_by IS NULL OR spent > 0 OR start_by > clock_timestamp())
        ORDER BY priority DESC, place LIMIT 1;
        RETURN found;
    END IF;
    -- One look into the index for each model of the token, whatever number of jobs of other models are queued. The condition is an order, in
    -- which only this index has the jobs: the planner takes another index if it believes that all jobs are of one model.
    FOR name IN SELECT model FROM waiting WHERE owner = of_owner AND turn = of_turn AND model = ANY(models) LOOP
        SELECT * INTO other FROM jobs
        WHERE owner = of_owner AND model >= name AND state = 'queued'
            AND (start_by IS NULL OR spent > 0 OR start_by > clock_timestamp())
        ORDER BY model, priority DESC, place LIMIT 1;
        IF other.model IS DISTINCT FROM name THEN
            -- The last one has been taken or has ended, or all are overdue.
            DELETE FROM waiting WHERE owner = of_owner AND turn = of_turn AND model = name
                AND model IS DISTINCT FROM (SELECT model FROM jobs WHERE owner = of_owner AND model >= name AND state = 'queued'
                    ORDER BY model, priority DESC, place LIMIT 1);
            CONTINUE;
        END IF;
        IF found.number IS NULL OR (-other.priority, other.place) < (-found.priority, found.place) THEN
            found := other;
        END IF;
    END LOOP;
    RETURN found;
END $$;

-- Starts the next job of a token whose row is locked: one of the batch of this model and priority, or without a model the first of a new
-- turn. A batch ends early if a job with a higher priority is queued.
CREATE FUNCTION start_job(this_box uuid, of_owner bytea, of_turn bigint, models text[], of_model text, of_priority smallint,
    most_running bigint)
RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    picked jobs;
BEGIN
    IF of_model <> ALL(models)
        OR NOT EXISTS (SELECT FROM boxes WHERE id = this_box AND leased_until > clock_timestamp() AND NOT draining)
        OR (SELECT count(*) FROM jobs WHERE owner = of_owner AND state = 'running') >= most_running
    THEN
        RETURN;
    END IF;
    picked := first_job(of_owner, of_turn, models);
    IF of_model IS NOT NULL THEN
        IF picked.priority IS DISTINCT FROM of_priority THEN
            RETURN;
        END IF;
        picked := first_job(of_owner, of_turn, ARRAY[of_model]);
        IF picked.priority IS DISTINCT FROM of_priority THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY UPDATE jobs
        SET state = 'running', attempt = attempt + 1, spent = spent + 1, started_at = clock_timestamp(), box = this_box
        WHERE number = picked.number AND state = 'queued' RETURNING *;
    IF FOUND AND of_model IS NULL THEN
        PERFORM end_turn(of_owner, of_turn);
    END IF;
END $$;

-- Starts the next job of this token. It waits for the lock of the token, but not long.
CREATE FUNCTION take_job(this_box uuid, of_owner bytea, models text[], of_model text, of_priority smallint, most_running bigint)
RETURNS SETOF jobs LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    of_turn bigint;
BEGIN
    SELECT turn INTO of_turn FROM owners WHERE owner = of_owner AND queued > 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM start_job(this_box, of_owner, of_turn, models, of_model, of_priority, most_running);
END $$;

-- The next token in the order of turns, after this turn, that has jobs of one of these models, or of any.
CREATE FUNCTION next_token(passed bigint, models text[], OUT of_turn bigint, OUT of_owner bytea) LANGUAGE plpgsql AS $$
BEGIN
    IF models IS NULL THEN
        SELECT turn, owner INTO of_turn, of_owner FROM waiting WHERE turn > passed ORDER BY turn, owner LIMIT 1;
    ELSE
        SELECT first.turn, first.owner INTO of_turn, of_owner FROM unnest(models) AS name, LATERAL (
            SELECT turn, owner FROM waiting WHERE model = name AND turn > passed ORDER BY turn LIMIT 1) AS first
        ORDER BY first.turn LIMIT 1;
    END IF;
END $$;

-- Starts the first job of the next token that has one of these models, in the order of turns, where the token before comes last. It waits for
-- locks of other transactions for so many milliseconds, and then fails: a token to which jobs are submitted is locked most of the time, and
-- would lose its turns. With 0, a token is passed over if its row is locked, or another one that its next job needs, so that it delays no
-- other. If all that there are were, the row is that of the first of them, without a job.
CREATE FUNCTION take_next(this_box uuid, before bytea, models text[], most_running bigint, wait_millis integer)
RETURNS SETOF jobs LANGUAGE plpgsql SET lock_timeout = '10ms' AS $$
DECLARE
    names text[] := models;
    passed bigint := -1;
    of_owner bytea;
    of_turn bigint;
    turn_before bigint;
    locked jobs;
    taken jobs;
    is_last boolean := false;
    may_wait boolean := wait_millis > 0;
BEGIN
    IF may_wait THEN
        PERFORM set_config('lock_timeout', wait_millis::text, true);
    END IF;
    -- The models that wait.
    IF models IS NOT NULL THEN
        names := ARRAY(SELECT name FROM unnest(models) AS name
            WHERE name = (SELECT model FROM waiting WHERE model >= name ORDER BY model, turn LIMIT 1));
    END IF;
    WHILE NOT is_last LOOP
        -- No two tokens have the same turn.
        SELECT * INTO of_turn, of_owner FROM next_token(passed, names);
        passed := of_turn;
        IF of_owner = before THEN
            turn_before := of_turn;
            CONTINUE;
        END IF;
        IF of_owner IS NULL THEN
            EXIT WHEN turn_before IS NULL;
            is_last := true;
            passed := turn_before;
            of_owner := before;
        END IF;
        -- The lock would be a write.
        CONTINUE WHEN (SELECT count(*) FROM jobs WHERE owner = of_owner AND state = 'running') >= most_running;
        IF may_wait THEN
            SELECT turn INTO of_turn FROM owners WHERE owner = of_owner FOR UPDATE;
            -- Otherwise its turn is over, since another daemon has started a job of it meanwhile.
            IF of_turn = passed OR is_last THEN
                SELECT * INTO taken FROM start_job(this_box, of_owner, of_turn, models, NULL, NULL, most_running);
            END IF;
            -- While it has the lock of a token it waits for no other, so that there are no deadlocks.
            may_wait := false;
            PERFORM set_config('lock_timeout', '10', true);
        ELSE
            SELECT turn INTO of_turn FROM owners WHERE owner = of_owner FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                locked.owner := coalesce(locked.owner, of_owner);
                CONTINUE;
            END IF;
            BEGIN
                SELECT * INTO taken FROM start_job(this_box, of_owner, of_turn, models, NULL, NULL, most_running);
            EXCEPTION WHEN lock_not_available THEN
                locked.owner := coalesce(locked.owner, of_owner);
                CONTINUE;
            END;
        END IF;
        IF taken.number IS NOT NULL THEN
            RETURN NEXT taken;
            SELECT turn INTO of_turn FROM owners WHERE owner = before AND before <> of_owner FOR UPDATE SKIP LOCKED;
            IF FOUND THEN
                PERFORM end_turn(before, of_turn);
            END IF;
            RETURN;
        END IF;
    END LOOP;
    IF locked.owner IS NOT NULL THEN
        RETURN NEXT locked;
    END IF;
END $$;

-- Queues the running jobs of a daemon again, at their places, or without a daemon those of all daemons that are gone. The interrupted
-- attempts count unless they are refunded. A job that has none left fails. A job that another transaction has locked, or whose token it has,
-- is left for the next call. A call that may wait for them does so for one token only, so that it has locked no other meanwhile. Returns how
-- many jobs there were.
CREATE FUNCTION requeue_running(of_box uuid, refund bigint, most bigint, reason text, may_wait boolean) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    of_owner bytea;
    chosen bigint[];
    n bigint;
    total bigint := 0;
BEGIN
    FOR of_owner IN
        SELECT DISTINCT owner FROM jobs WHERE state = 'running'
            AND CASE WHEN of_box IS NULL THEN NOT EXISTS (SELECT FROM boxes WHERE id = box) ELSE box = of_box END
        ORDER BY owner
    LOOP
        IF may_wait THEN
            PERFORM FROM owners WHERE owner = of_owner FOR UPDATE;
        ELSE
            PERFORM FROM owners WHERE owner = of_owner FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
        END IF;
        chosen := ARRAY(SELECT number FROM jobs WHERE owner = of_owner AND state = 'running'
            AND CASE WHEN of_box IS NULL THEN NOT EXISTS (SELECT FROM boxes WHERE id = box) ELSE box = of_box END);
        IF NOT may_wait THEN
            chosen := ARRAY(SELECT number FROM jobs WHERE number = ANY(chosen) AND state = 'running'
                FOR NO KEY UPDATE SKIP LOCKED);
        END IF;
        UPDATE jobs SET
            state = CASE WHEN spent - refund < most THEN 'queued' ELSE 'failed' END,
            error = reason || ' during attempt ' || attempt || CASE WHEN spent - refund < most THEN '' ELSE ', the last one' END,
            completed_at = CASE WHEN spent - refund < most THEN NULL ELSE clock_timestamp() END,
            body = CASE WHEN spent - refund < most THEN body END,
            spent = greatest(spent - refund, 0),
            box = NULL
        WHERE number = ANY(chosen) AND state = 'running'
            AND CASE WHEN of_box IS NULL THEN NOT EXISTS (SELECT FROM boxes WHERE id = box) ELSE box = of_box END;
        GET DIAGNOSTICS n = ROW_COUNT;
        total := total + n;
        EXIT WHEN may_wait AND n > 0;
    END LOOP;
    RETURN total;
END $$;

-- Fails some of the queued jobs whose time has passed. A job that another transaction has locked, or whose token it has, is left for the
-- next call, so that none is waited for while others are locked.
CREATE FUNCTION fail_overdue(most bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    overdue bigint[];
BEGIN
    overdue := ARRAY(SELECT number FROM jobs JOIN owners USING (owner)
        WHERE state = 'queued' AND spent = 0 AND start_by < clock_timestamp()
        ORDER BY start_by LIMIT most FOR UPDATE OF owners SKIP LOCKED FOR NO KEY UPDATE OF jobs SKIP LOCKED);
    RETURN QUERY UPDATE jobs SET state = 'failed', error = 'deadline', completed_at = clock_timestamp(), body = NULL
        WHERE number = ANY(overdue) AND state = 'queued' AND spent = 0 RETURNING id;
END $$;

-- The events that are due, in their order, without those to blocked destinations: some of the first, or if these are all blocked, the first
-- ones of the next destinations that are not. The destinations take turns then: the last one was claimed from before. However many events to a
-- blocked destination wait, they cost the same.
CREATE FUNCTION first_events(blocked text[], last text) RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    start text;
BEGIN
    RETURN QUERY SELECT * FROM (SELECT * FROM outbox WHERE box IS NULL AND ready ORDER BY due_at, number LIMIT 20) AS first
        WHERE destination <> ALL(blocked) ORDER BY due_at, number;
    IF FOUND THEN
        RETURN;
    END IF;
    FOREACH start IN ARRAY ARRAY[last, ''] LOOP
        RETURN QUERY WITH RECURSIVE first (event) AS (
            (SELECT outbox FROM outbox WHERE box IS NULL AND ready AND destination > start
                ORDER BY destination, due_at, number LIMIT 1)
            UNION ALL SELECT (SELECT outbox FROM outbox WHERE box IS NULL AND ready AND destination > (first.event).destination
                ORDER BY destination, due_at, number LIMIT 1)
                FROM first WHERE (first.event).number IS NOT NULL)
            SELECT (event).* FROM first WHERE (event).number IS NOT NULL AND (event).destination <> ALL(blocked) LIMIT 5;
        IF FOUND THEN
            RETURN;
        END IF;
    END LOOP;
END $$;

-- Claims an event that is due, of those whose destination is not blocked. Otherwise the row has in how many microseconds to try again, if
-- any event waits for its time.
CREATE FUNCTION claim_event(this_box uuid, blocked text[], last text) RETURNS TABLE (claimed bigint, pause bigint)
LANGUAGE plpgsql AS $$
DECLARE
    -- A condition with a function that is not stable uses no index.
    present timestamptz := clock_timestamp();
    -- It bounds how many rows are locked.
    most bigint := 100;
    marked bigint;
    event outbox;
BEGIN
    UPDATE outbox SET ready = true WHERE number = ANY(ARRAY(
        SELECT number FROM outbox WHERE box IS NULL AND NOT ready AND due_at <= present
        ORDER BY due_at, number LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS marked = ROW_COUNT;
    FOR event IN SELECT * FROM first_events(blocked, last) LOOP
        -- Another daemon may have claimed it, or claims it now.
        SELECT number INTO claimed FROM outbox WHERE number = event.number AND box IS NULL AND ready AND destination = event.destination
            FOR UPDATE SKIP LOCKED;
        EXIT WHEN FOUND;
        pause := 100000;
    END LOOP;
    IF pause IS NOT NULL AND claimed IS NULL THEN
        -- Somebody has locked all of these.
        SELECT number INTO claimed FROM outbox WHERE box IS NULL AND ready AND destination <> ALL(blocked) AND number = ANY(ARRAY(
            SELECT number FROM outbox WHERE box IS NULL AND ready ORDER BY due_at, number LIMIT 1000))
            LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    IF claimed IS NOT NULL THEN
        UPDATE outbox SET box = this_box WHERE number = claimed;
        RETURN NEXT;
        RETURN;
    END IF;
    IF marked = most THEN
        pause := 0;
    ELSIF pause IS NULL THEN
        SELECT extract(epoch FROM due_at - present) * 1000000 INTO pause FROM outbox
            WHERE box IS NULL AND NOT ready AND due_at > present ORDER BY due_at, number LIMIT 1;
    END IF;
    IF pause IS NOT NULL THEN
        RETURN NEXT;
    END IF;
END $$;

-- Records what became of an event that a daemon has sent. An event that is settled already is left alone.
CREATE FUNCTION settle_event(this_box uuid, of_job bigint, of_event bigint, verdict text, pause interval)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM jobs WHERE number = of_job FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM events WHERE seq = of_event) THEN
        RETURN;
    END IF;
    IF verdict = 'again' THEN
        UPDATE outbox SET sent = sent + 1, due_at = clock_timestamp() + pause, ready = false, box = NULL
        WHERE number = of_job AND box = this_box;
        RETURN;
    END IF;
    IF verdict = 'stop' THEN
        DELETE FROM events WHERE number = of_job;
        UPDATE jobs SET webhook = NULL WHERE number = of_job;
    ELSE
        DELETE FROM events WHERE seq = of_event;
    END IF;
    IF EXISTS (SELECT FROM events WHERE number = of_job) THEN
        UPDATE outbox SET sent = 0, due_at = clock_timestamp(), box = NULL WHERE number = of_job;
    ELSE
        DELETE FROM outbox WHERE number = of_job;
    END IF;
END $$;
