-- The indexes that text is searched by are made apart (pgsearch.go): that takes long where there are many items.

-- +goose Up
ALTER TABLE items ADD COLUMN names TEXT NOT NULL DEFAULT '';
CREATE INDEX items_class ON items (class, id);
CREATE INDEX items_state_class ON items (state, class, id);

-- +goose Down
DROP INDEX items_state_class;
DROP INDEX items_class;
ALTER TABLE items DROP COLUMN names;
