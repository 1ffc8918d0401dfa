-- A later version only adds: tables, and columns that have a default. The version before it must go on working.
-- Amounts count the currency's smallest unit.
CREATE TABLE payments (
    id         TEXT PRIMARY KEY NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    currency   TEXT NOT NULL,
    token      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'authorised', 'declined', 'voiding', 'voided')),
    captured   INTEGER NOT NULL DEFAULT 0,
    -- Begun with the processor and not yet finished.
    capturing  INTEGER NOT NULL DEFAULT 0 CHECK (captured + capturing <= amount),
    refunded   INTEGER NOT NULL DEFAULT 0,
    refunding  INTEGER NOT NULL DEFAULT 0 CHECK (refunded + refunding <= captured),
    created_ms INTEGER NOT NULL
) STRICT;

-- What was asked of the processor. Written before it is asked, so that no restart forgets it.
CREATE TABLE operations (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('authorise', 'capture', 'void', 'refund')),
    payment    TEXT NOT NULL REFERENCES payments (id),
    amount     INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('started', 'approved', 'declined')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    -- The processor's reason when declined.
    code       TEXT,
    created_ms INTEGER NOT NULL
) STRICT;

-- Double entry: the entries of an operation add up to nothing.
CREATE TABLE entries (
    number    INTEGER PRIMARY KEY,
    operation TEXT NOT NULL REFERENCES operations (id),
    account   TEXT NOT NULL,
    amount    INTEGER NOT NULL,
    currency  TEXT NOT NULL,
    at_ms     INTEGER NOT NULL
) STRICT;
