-- Times are Unix milliseconds. Lists are strings with their lengths ("3:one,3:two,"), because
-- what a sender wrote need not be UTF-8, which JSON cannot hold. The *_keys and search columns
-- are lower case and valid UTF-8: they are searched and never shown.

-- +goose Up
CREATE TABLE items (
    id             TEXT PRIMARY KEY,
    created        BIGINT NOT NULL,
    expires        BIGINT NOT NULL,
    queue_id       TEXT NOT NULL,
    session        TEXT NOT NULL,
    client         TEXT NOT NULL,
    client_name    TEXT NOT NULL,
    helo           TEXT NOT NULL,
    auth_user      TEXT NOT NULL,
    sender         TEXT NOT NULL,
    sender_args    TEXT NOT NULL,
    recipients     TEXT NOT NULL,
    subject        TEXT NOT NULL,
    from_field     TEXT NOT NULL,
    message_id     TEXT NOT NULL,
    rule           TEXT NOT NULL,
    policy         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    findings       TEXT NOT NULL,
    is_copy        INTEGER NOT NULL,
    size           BIGINT NOT NULL,
    sha256         TEXT NOT NULL,
    digest         TEXT NOT NULL,
    envelope_key   TEXT NOT NULL,
    stored         INTEGER NOT NULL,
    state          TEXT NOT NULL,
    changed        BIGINT NOT NULL,
    changed_by     TEXT NOT NULL,
    note           TEXT NOT NULL,
    release_to     TEXT NOT NULL,
    lease          BIGINT NOT NULL,
    attempt        TEXT NOT NULL,
    sender_keys    TEXT NOT NULL,
    recipient_keys TEXT NOT NULL,
    search         TEXT NOT NULL
);
CREATE INDEX items_state ON items (state, id);
CREATE INDEX items_due ON items (expires) WHERE stored = 1;
CREATE INDEX items_envelope_key ON items (envelope_key) WHERE state = 'held';

-- +goose Down
DROP TABLE items;
