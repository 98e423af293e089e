-- What administrators have excepted from the policy, and what was done with each. To the log is only added:
-- the triggers see to it. Text is valid UTF-8 here, because people of ours write it.

-- +goose Up
CREATE TABLE exceptions (
    id         TEXT PRIMARY KEY,
    sender     TEXT NOT NULL,
    recipient  TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    rule       TEXT NOT NULL,
    check_id   TEXT NOT NULL,
    owner      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    until      TEXT NOT NULL,
    created    BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    changed    BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    hits       BIGINT NOT NULL,
    last_hit   BIGINT NOT NULL
);
CREATE TABLE exception_log (
    serial     INTEGER PRIMARY KEY AUTOINCREMENT,
    at         BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    what       TEXT NOT NULL,
    id         TEXT NOT NULL,
    exception  TEXT NOT NULL
);
CREATE INDEX exception_log_id ON exception_log (id, serial);
-- +goose StatementBegin
CREATE TRIGGER exception_log_stays BEFORE UPDATE ON exception_log
BEGIN
    SELECT RAISE(ABORT, 'the log of exceptions is only added to');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER exception_log_stays_whole BEFORE DELETE ON exception_log
BEGIN
    SELECT RAISE(ABORT, 'the log of exceptions is only added to');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE exception_log;
DROP TABLE exceptions;
