-- A presigned PUT is an intent that stays open as long as an upload by its URL may land.

-- +goose Up
ALTER TABLE intents ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;

CREATE INDEX intents_presigned ON intents (bucket, key) WHERE operation = 'presigned-put';

-- +goose Down
DROP INDEX intents_presigned;
ALTER TABLE intents DROP COLUMN expires_at;
