-- How a program knows, when the connection was lost at a commit, whether the transaction came about: it has left
-- its mark, in one of the program's rows. Only PostgreSQL needs that.

-- +goose Up
CREATE TABLE commit_marks (
    slot TEXT PRIMARY KEY,
    mark TEXT NOT NULL,
    at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE commit_marks;
