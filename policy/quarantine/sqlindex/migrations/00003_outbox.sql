-- Messages that the filter itself sends. The version before knows none of their states, and leaves them alone.

-- +goose Up
ALTER TABLE items ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN next_try BIGINT NOT NULL DEFAULT 0;
CREATE INDEX items_outbox_key ON items (envelope_key) WHERE purpose <> '';

-- +goose Down
DROP INDEX items_outbox_key;
ALTER TABLE items DROP COLUMN next_try;
ALTER TABLE items DROP COLUMN tries;
ALTER TABLE items DROP COLUMN purpose;
