-- The record of a message whose item is held or queued: JSON, of package engine. It is written with the item and
-- stays as long as that does.

-- +goose Up
CREATE TABLE evidence (
    id     TEXT PRIMARY KEY,
    record TEXT NOT NULL
);

-- +goose Down
DROP TABLE evidence;
