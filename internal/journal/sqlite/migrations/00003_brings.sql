-- An intent says what its write brings, where that is known before it is sent: not only a
-- repair's.

-- +goose Up
ALTER TABLE intents RENAME COLUMN restores_etag TO brings;

-- +goose Down
ALTER TABLE intents RENAME COLUMN brings TO restores_etag;
