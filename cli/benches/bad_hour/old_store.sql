-- A store of version 3 with two ended and four queued jobs of `token-a`, two of them with webhooks at {receiver}.
-- The times are those of the import, since ended jobs are deleted after a day. {answer-N} is the answer to the prompt of job N.
PRAGMA journal_mode = WAL;
PRAGMA application_id = 0x464f5245;
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE jobs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        owner BLOB NOT NULL,
        state TEXT NOT NULL,
        model TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        completed_at INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        body BLOB,
        result TEXT,
        error TEXT,
        artifacts TEXT,
        webhook TEXT,
        traceparent BLOB,
        key BLOB,
        digest BLOB,
        event_stream TEXT
    ) STRICT;
INSERT INTO jobs VALUES (1,'00000000000000000000000000000001',
    X'04374e312b8d831e289f4dba640e3aac','done','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),CAST(unixepoch('subsec') * 1000000 AS INTEGER),CAST(unixepoch('subsec') * 1000000 AS INTEGER),1,1,NULL,
    '{"model":"m","created_at":"2026-11-26T21:09:01.488099144Z","message":{"role":"assistant","content":"{answer-1}"},"done":true,"done_reason":"stop","total_duration":1,"load_duration":0,"prompt_eval_count":4,"prompt_eval_duration":1,"eval_count":9,"eval_duration":1}',NULL,NULL,NULL,NULL,
    X'59450021ff2c4d83fb29c92052ef151ce8ee9bd0d8f115124b05707d2e064ab5',
    X'84d420c426c3ffc3452ef499683f47ff790e3b206b730af5d82970bc134459aa',NULL);
INSERT INTO jobs VALUES (2,'00000000000000000000000000000002',
    X'04374e312b8d831e289f4dba640e3aac','done','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),CAST(unixepoch('subsec') * 1000000 AS INTEGER),CAST(unixepoch('subsec') * 1000000 AS INTEGER),1,1,NULL,
    '{"model":"m","created_at":"2026-11-26T21:09:01.490285884Z","message":{"role":"assistant","content":"{answer-2}"},"done":true,"done_reason":"stop","total_duration":1,"load_duration":0,"prompt_eval_count":4,"prompt_eval_duration":1,"eval_count":9,"eval_duration":1}',NULL,NULL,NULL,NULL,
    X'e2518ac584cd0a603e0809780622b5bfee46a5ba78c425f20574d48663e08e74',
    X'179531d2a45550857c9188779a44967d39ad567a90a1a67807d142319e87c6d9',NULL);
INSERT INTO jobs VALUES (3,'00000000000000000000000000000003',
    X'04374e312b8d831e289f4dba640e3aac','queued','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),CAST(unixepoch('subsec') * 1000000 AS INTEGER),NULL,1,0,
    X'7b226d65737361676573223a5b7b22636f6e74656e74223a226f6c642d332077616e74732034302062797465732e20222c22726f6c65223a2275736572227d5d2c226d6f64656c223a226d222c2273746174655f776562686f6f6b5f75726c223a6e756c6c7d',NULL,NULL,NULL,NULL,NULL,
    X'a7aaa14f8013f1a4a663dd8ffed81cae1dc52f317377b42939aee460377aaaab',
    X'62face49d08308c47210fc8a0d38c44bda5cf70de388bfbf2e9e0a2f6ddff786',NULL);
INSERT INTO jobs VALUES (4,'00000000000000000000000000000004',
    X'04374e312b8d831e289f4dba640e3aac','queued','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),NULL,NULL,0,0,
    X'7b226d65737361676573223a5b7b22636f6e74656e74223a226f6c642d342077616e74732034302062797465732e20222c22726f6c65223a2275736572227d5d2c226d6f64656c223a226d222c2273746174655f776562686f6f6b5f75726c223a6e756c6c7d',NULL,NULL,NULL,NULL,NULL,
    X'ad860cc8075f88371889540c01ad2b80fb7c7ca55088f1837cbc38afce87b986',
    X'7cbd81c6aaf510129e42ac48ab1f36673a2968c7a694b391c018ea4cd7ecb4fa',NULL);
INSERT INTO jobs VALUES (5,'00000000000000000000000000000005',
    X'04374e312b8d831e289f4dba640e3aac','queued','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),NULL,NULL,0,0,
    X'7b226d65737361676573223a5b7b22636f6e74656e74223a226f6c642d352077616e74732034302062797465732e20222c22726f6c65223a2275736572227d5d2c226d6f64656c223a226d222c2273746174655f776562686f6f6b5f75726c223a22687474703a2f2f3132372e302e302e373a372f686f6f6b227d',NULL,NULL,NULL,'{receiver}',NULL,
    X'6e1f526d34f83eaacca645b5b0ecd38491eb058e7b84a7b9c4ee98299111f96a',
    X'28facc33c1e6e7664b14ec9ec4a20bc214b976a5f616df7cb2647551a21ee04f',NULL);
INSERT INTO jobs VALUES (6,'00000000000000000000000000000006',
    X'04374e312b8d831e289f4dba640e3aac','queued','m',CAST(unixepoch('subsec') * 1000000 AS INTEGER),NULL,NULL,0,0,
    X'7b226d65737361676573223a5b7b22636f6e74656e74223a226f6c642d362077616e74732034302062797465732e20222c22726f6c65223a2275736572227d5d2c226d6f64656c223a226d222c2273746174655f776562686f6f6b5f75726c223a22687474703a2f2f3132372e302e302e373a372f686f6f6b227d',NULL,NULL,NULL,'{receiver}',NULL,
    X'786a2cd068792329683173d631d971d9893d33b0b338c826fefe8e2d981d8032',
    X'98872b1c7b4849da1a6ad8a2e6876fcafa53d32d19f8a16dce52b804665a817c',NULL);
CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        started_at INTEGER,
        due_at INTEGER NOT NULL,
        sent INTEGER NOT NULL DEFAULT 0
    ) STRICT;
INSERT INTO events VALUES(1,5,'msg_01a219b0bbae707dba8203d67073c424','queued',0,NULL,0,1);
INSERT INTO events VALUES(2,6,'msg_01a219b0bbb07115b11717896a53b4bb','queued',0,NULL,0,1);
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, number);
CREATE INDEX jobs_open ON jobs (state, number) WHERE completed_at IS NULL;
CREATE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX events_by_job ON events (number, seq);
COMMIT;
