-- +goose Up

-- Times are microseconds since 1970, UTC; 0 is none.

CREATE TABLE journal (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    journal_id TEXT    NOT NULL,
    sequence   INTEGER NOT NULL
);

CREATE TABLE epochs (
    epoch    INTEGER PRIMARY KEY,
    active   TEXT    NOT NULL,
    began_at INTEGER NOT NULL
);

-- attached_at is 0 until each of the bucket's keys has a copy in the region.
CREATE TABLE bucket_regions (
    bucket      TEXT    NOT NULL,
    region      TEXT    NOT NULL,
    attached_at INTEGER NOT NULL,
    compared_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, region)
) WITHOUT ROWID;

CREATE TABLE objects (
    bucket       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    operation    TEXT    NOT NULL,
    deleted      INTEGER NOT NULL,
    etag         TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    content_type TEXT    NOT NULL,
    last_region  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    unsettled    INTEGER NOT NULL,
    delete_seen  INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;

CREATE INDEX objects_unsettled ON objects (bucket, key) WHERE unsettled = 1;

-- A copy's epoch, sequence and etag are what the region was last known to hold. The
-- claimed_ columns say what its worker may send: where it would land, what it would
-- leave, and for how long after the claim it may.
CREATE TABLE copies (
    bucket        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    region        TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('current', 'pending', 'abandoned', 'unreplicable', 'missing')),
    epoch         INTEGER NOT NULL DEFAULT 0,
    sequence      INTEGER NOT NULL DEFAULT 0,
    etag          TEXT    NOT NULL DEFAULT '',
    attempts      INTEGER NOT NULL DEFAULT 0,
    last_error    TEXT    NOT NULL DEFAULT '',
    next_try      INTEGER NOT NULL DEFAULT 0,
    pending_since INTEGER NOT NULL DEFAULT 0,
    claim         INTEGER NOT NULL DEFAULT 0,
    claimed_until INTEGER NOT NULL DEFAULT 0,
    claimed_expects TEXT    NOT NULL DEFAULT '',
    claimed_etag    TEXT    NOT NULL DEFAULT '',
    claimed_window  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, key, region),
    CHECK ((state = 'pending') = (pending_since <> 0)),
    CHECK ((claim = 0) = (claimed_until = 0))
) WITHOUT ROWID;

CREATE INDEX copies_due ON copies (bucket, region, next_try) WHERE state = 'pending';
CREATE INDEX copies_behind ON copies (bucket, region, key) WHERE state <> 'current';
CREATE INDEX copies_claimed ON copies (bucket, region) WHERE claim <> 0;

CREATE TABLE intents (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    region        TEXT    NOT NULL,
    operation     TEXT    NOT NULL,
    epoch         INTEGER NOT NULL,
    began         INTEGER NOT NULL,
    opened_at     INTEGER NOT NULL,
    doubt_until   INTEGER NOT NULL,
    in_doubt      INTEGER NOT NULL DEFAULT 0,
    restores_epoch    INTEGER NOT NULL DEFAULT 0,
    restores_sequence INTEGER NOT NULL DEFAULT 0,
    restores_etag     TEXT    NOT NULL DEFAULT '',
    displaces         TEXT    NOT NULL DEFAULT ''
);

CREATE INDEX intents_key ON intents (bucket, key);

CREATE TABLE late_copies (
    bucket  TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    region  TEXT    NOT NULL,
    expects TEXT    NOT NULL,
    etag    TEXT    NOT NULL,
    until   INTEGER NOT NULL,
    PRIMARY KEY (bucket, key, region, expects, etag)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE late_copies;
DROP TABLE intents;
DROP TABLE copies;
DROP TABLE objects;
DROP TABLE bucket_regions;
DROP TABLE epochs;
DROP TABLE journal;
