-- What the policy calls a held message. Columns are only added, with defaults, so that the version before
-- still works with the database.

-- +goose Up
ALTER TABLE items ADD COLUMN class TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE items DROP COLUMN class;
