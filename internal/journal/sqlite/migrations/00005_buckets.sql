-- Each bucket of a region has a mark of its own.

-- +goose Up
CREATE TABLE bucket_marks (
    bucket     TEXT    NOT NULL,
    region     TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    etag       TEXT    NOT NULL,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (bucket, region)
) WITHOUT ROWID;

INSERT INTO bucket_marks SELECT r.bucket, m.region, m.epoch, m.sequence, m.etag, m.written_at FROM marks m JOIN bucket_regions r ON r.region = m.region;

DROP TABLE marks;
ALTER TABLE bucket_marks RENAME TO marks;

-- +goose Down
CREATE TABLE region_marks (
    region     TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    etag       TEXT    NOT NULL,
    written_at INTEGER NOT NULL
) WITHOUT ROWID;

INSERT OR IGNORE INTO region_marks SELECT region, epoch, sequence, etag, written_at FROM marks ORDER BY bucket;

DROP TABLE marks;
ALTER TABLE region_marks RENAME TO marks;
