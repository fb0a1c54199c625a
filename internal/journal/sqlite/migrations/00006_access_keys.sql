-- Access keys of S3 clients, their secrets sealed. Buckets and prefixes are lists in JSON; an empty one is all.

-- +goose Up
CREATE TABLE access_keys (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    buckets     TEXT    NOT NULL,
    prefixes    TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    sealed      BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    rotated_at  INTEGER NOT NULL DEFAULT 0,
    disabled_at INTEGER NOT NULL DEFAULT 0,
    CHECK (length(sealed) > 0 OR disabled_at <> 0)
);

-- +goose Down
DROP TABLE access_keys;
