-- A later version only adds: tables, and columns that have a default. The version before it must go on working.
CREATE TABLE items (
    sku           TEXT PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL,
    price         INTEGER NOT NULL CHECK (price >= 0),
    currency      TEXT NOT NULL,
    on_hand       INTEGER NOT NULL CHECK (on_hand >= 0),
    reserved      INTEGER NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand),
    low_mark      INTEGER NOT NULL CHECK (low_mark >= 0),
    -- 1 until the stock has fallen to its low mark and a reorder is written; a restock sets it again.
    reorder_armed INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE reservations (
    id         TEXT PRIMARY KEY NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('held', 'committed', 'released', 'expired')),
    expires_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX held_reservations ON reservations (expires_ms) WHERE state = 'held';

CREATE TABLE reservation_lines (
    reservation TEXT NOT NULL REFERENCES reservations (id),
    sku         TEXT NOT NULL REFERENCES items (sku),
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (reservation, sku)
) STRICT, WITHOUT ROWID;

CREATE TABLE restocks (
    id       TEXT PRIMARY KEY NOT NULL,
    sku      TEXT NOT NULL REFERENCES items (sku),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    at_ms    INTEGER NOT NULL
) STRICT;

CREATE TABLE reorders (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    sku      TEXT NOT NULL REFERENCES items (sku),
    on_hand  INTEGER NOT NULL,
    low_mark INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT;

-- The menu a new shop begins with. Prices are in cents.
INSERT INTO items (sku, name, price, currency, on_hand, low_mark) VALUES
    ('espresso',      'Espresso',             250, 'USD', 1000, 100),
    ('double-espresso', 'Double espresso',    320, 'USD', 1000, 100),
    ('macchiato',     'Macchiato',            300, 'USD',  600,  60),
    ('cappuccino',    'Cappuccino',           380, 'USD',  800,  80),
    ('flat-white',    'Flat white',           400, 'USD',  600,  60),
    ('latte',         'Caffè latte',          420, 'USD',  800,  80),
    ('filter-coffee', 'Filter coffee',        280, 'USD',  800,  80),
    ('cold-brew',     'Cold brew',            450, 'USD',  200,  20),
    ('hot-chocolate', 'Hot chocolate',        400, 'USD',  200,  20),
    ('tea',           'Pot of tea',           300, 'USD',  300,  30),
    ('croissant',     'Butter croissant',     350, 'USD',   80,  15),
    ('cheesecake',    'Slice of cheesecake',  520, 'USD',   24,   6);
