-- +goose Up

-- A promotion begins an epoch. uncompared: its bucket was not compared then.
ALTER TABLE epochs ADD COLUMN forced     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE epochs ADD COLUMN uncompared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE epochs ADD COLUMN automatic  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE epochs ADD COLUMN actor      TEXT    NOT NULL DEFAULT '';
ALTER TABLE epochs ADD COLUMN reason     TEXT    NOT NULL DEFAULT '';

-- regressed_at: the region came back older, and regressed_intent was the last intent then;
-- detached_at: it was taken out for good.
ALTER TABLE bucket_regions ADD COLUMN regressed_at     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bucket_regions ADD COLUMN regressed_intent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bucket_regions ADD COLUMN regressed_why    TEXT    NOT NULL DEFAULT '';
ALTER TABLE bucket_regions ADD COLUMN detached_at      INTEGER NOT NULL DEFAULT 0;

-- unverified: what the region holds is from before it came back older; it was neither written
-- nor looked at since.
ALTER TABLE copies ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;

CREATE INDEX intents_in_doubt ON intents (bucket, key) WHERE in_doubt = 1;

-- One write that the promotion which began epoch `failover` put at risk or left in doubt.
-- epoch and sequence are its version; of one in doubt 0 until it was found.
CREATE TABLE ledger (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    failover   INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('at-risk', 'in-doubt')),
    bucket     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    region     TEXT    NOT NULL,
    intent     INTEGER NOT NULL DEFAULT 0,
    epoch      INTEGER NOT NULL DEFAULT 0,
    sequence   INTEGER NOT NULL DEFAULT 0,
    operation  TEXT    NOT NULL,
    etag       TEXT    NOT NULL DEFAULT '',
    size       INTEGER NOT NULL DEFAULT 0,
    at         INTEGER NOT NULL,
    outcome    TEXT    NOT NULL DEFAULT '' CHECK (outcome IN ('', 'recovered', 'superseded', 'conflict', 'not-applied', 'lost')),
    closed_at  INTEGER NOT NULL DEFAULT 0,
    reason     TEXT    NOT NULL DEFAULT '',
    CHECK ((outcome = '') = (closed_at = 0)),
    CHECK ((kind = 'in-doubt') = (intent <> 0))
);

CREATE INDEX ledger_failover ON ledger (failover, id);
CREATE INDEX ledger_open ON ledger (bucket, key) WHERE outcome = '';
CREATE INDEX ledger_intent ON ledger (intent) WHERE outcome = '';

-- A write that a later one never saw.
CREATE TABLE conflicts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket          TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    epoch           INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    winner_epoch    INTEGER NOT NULL,
    winner_sequence INTEGER NOT NULL,
    operation       TEXT    NOT NULL,
    deleted         INTEGER NOT NULL,
    etag            TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    content_type    TEXT    NOT NULL,
    region          TEXT    NOT NULL,
    found_at        INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('found', 'kept', 'resolved')),
    kept_key        TEXT    NOT NULL DEFAULT '',
    last_error      TEXT    NOT NULL DEFAULT '',
    resolution      TEXT    NOT NULL DEFAULT '',
    resolved_at     INTEGER NOT NULL DEFAULT 0,
    resolved_by     TEXT    NOT NULL DEFAULT '',
    UNIQUE (bucket, key, epoch, sequence)
);

CREATE INDEX conflicts_found ON conflicts (bucket, key) WHERE state = 'found';
CREATE INDEX conflicts_open ON conflicts (id) WHERE state <> 'resolved';

-- What was last written into each region's mark.
CREATE TABLE marks (
    region     TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    etag       TEXT    NOT NULL,
    written_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The chain: hash is that of the entry and of the hash before it.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    action  TEXT    NOT NULL,
    actor   TEXT    NOT NULL,
    bucket  TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    version TEXT    NOT NULL,
    region  TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    hash    BLOB    NOT NULL
);

-- The machine's boot in which the journal was last open, and whether it was closed well.
-- machine_stopped: a boot ended while it was open, and that was not taken up yet.
ALTER TABLE journal ADD COLUMN boot_id         TEXT    NOT NULL DEFAULT '';
ALTER TABLE journal ADD COLUMN closed          INTEGER NOT NULL DEFAULT 1;
ALTER TABLE journal ADD COLUMN machine_stopped INTEGER NOT NULL DEFAULT 0;

-- +goose Down
DROP TABLE audit;
DROP TABLE marks;
DROP TABLE conflicts;
DROP TABLE ledger;
DROP INDEX intents_in_doubt;
ALTER TABLE copies DROP COLUMN unverified;
ALTER TABLE journal DROP COLUMN machine_stopped;
ALTER TABLE journal DROP COLUMN closed;
ALTER TABLE journal DROP COLUMN boot_id;
ALTER TABLE bucket_regions DROP COLUMN detached_at;
ALTER TABLE bucket_regions DROP COLUMN regressed_why;
ALTER TABLE bucket_regions DROP COLUMN regressed_intent;
ALTER TABLE bucket_regions DROP COLUMN regressed_at;
ALTER TABLE epochs DROP COLUMN reason;
ALTER TABLE epochs DROP COLUMN actor;
ALTER TABLE epochs DROP COLUMN automatic;
ALTER TABLE epochs DROP COLUMN uncompared;
ALTER TABLE epochs DROP COLUMN forced;
