-- What administrators have excepted from the policy, and what was done with each. To the log is only added:
-- the trigger sees to it.

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
    serial     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    what       TEXT NOT NULL,
    id         TEXT NOT NULL,
    exception  TEXT NOT NULL
);
CREATE INDEX exception_log_id ON exception_log (id, serial);
-- +goose StatementBegin
CREATE FUNCTION exception_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log of exceptions is only added to';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER exception_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON exception_log
    EXECUTE FUNCTION exception_log_stays();

-- +goose Down
DROP TABLE exception_log;
DROP FUNCTION exception_log_stays;
DROP TABLE exceptions;
