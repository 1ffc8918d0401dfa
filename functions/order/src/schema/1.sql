-- A later version only adds: tables, and columns that have a default. The version before it must go on working,
-- so there are no new words for status and step either.
-- Amounts count the currency's smallest unit.
CREATE TABLE orders (
    id           TEXT PRIMARY KEY NOT NULL,
    -- What was asked for, written one way, so that a repeat can be told from another order.
    body         TEXT NOT NULL,
    -- The lines as they were priced, JSON.
    lines        TEXT NOT NULL,
    total        INTEGER NOT NULL CHECK (total > 0),
    currency     TEXT NOT NULL,
    token        TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    -- What is done next, or was begun and may be done again.
    step         TEXT NOT NULL,
    -- Which reservation it is by now, from 1.
    reservation  INTEGER NOT NULL DEFAULT 1,
    reserved     INTEGER NOT NULL DEFAULT 0,
    authorised   INTEGER NOT NULL DEFAULT 0,
    captured     INTEGER NOT NULL DEFAULT 0,
    -- Why it is cancelled, or is about to be; JSON.
    reason       TEXT,
    -- What kept a step from being done when it was last tried.
    trouble      TEXT,
    created_ms   INTEGER NOT NULL,
    updated_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX pending_orders ON orders (updated_ms) WHERE status = 'pending';
CREATE INDEX orders_by_age ON orders (created_ms);
