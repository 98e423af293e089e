-- What items are searched by: three characters in a row of senders (s), recipients (r) and text (t). They are
-- not in it yet if search_todo names them, which triggers see to, so that items of the version before are found too;
-- or if their id is below that of search_state, which is for the items that were there before.

-- +goose Up
CREATE VIRTUAL TABLE items_search USING fts5 (s, r, t, tokenize = 'trigram case_sensitive 1', content = '', detail = column, columnsize = 0);
CREATE TABLE search_todo (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE search_state (below TEXT NOT NULL);
INSERT INTO search_state SELECT COALESCE(MAX(id) || '~', '') FROM items;
-- +goose StatementBegin
CREATE TRIGGER items_to_search AFTER INSERT ON items
BEGIN
    INSERT OR IGNORE INTO search_todo VALUES (NEW.id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER items_not_to_search AFTER DELETE ON items
BEGIN
    DELETE FROM search_todo WHERE id = OLD.id;
END;
-- +goose StatementEnd
ALTER TABLE items ADD COLUMN names TEXT NOT NULL DEFAULT '';
CREATE INDEX items_class ON items (class, id);
CREATE INDEX items_state_class ON items (state, class, id);

-- +goose Down
DROP INDEX items_state_class;
DROP INDEX items_class;
ALTER TABLE items DROP COLUMN names;
DROP TRIGGER items_not_to_search;
DROP TRIGGER items_to_search;
DROP TABLE search_state;
DROP TABLE search_todo;
DROP TABLE items_search;
