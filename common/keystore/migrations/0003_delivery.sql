-- Requests of applications: at the end that was asked, and at the end that holds the keys for the others. Rows are added, never removed.
CREATE TABLE orders (
    number      INTEGER PRIMARY KEY,
    handout     INTEGER NOT NULL,            -- whose pieces the keys were cut from, one behind the other
    first_byte  INTEGER NOT NULL CHECK (first_byte >= 0),
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0), -- of each key
    key_ids     BLOB    NOT NULL,            -- 16 bytes each
    master      TEXT    NOT NULL,
    slaves      TEXT    NOT NULL,            -- separated by line feeds
    at_s        REAL    NOT NULL
);
CREATE INDEX orders_by_handout ON orders (handout);

-- Handouts of ours of which we do not know yet whether the peer holds them.
CREATE TABLE unsettled (
    handout INTEGER PRIMARY KEY
);

-- Keys held for applications here: sealed, each under a data key of its own, until all of them were given theirs.
CREATE TABLE held_keys (
    key_id  BLOB NOT NULL PRIMARY KEY CHECK (length(key_id) = 16),
    master  TEXT NOT NULL,
    held_s  REAL NOT NULL,
    wrapped BLOB NOT NULL,
    sealed  BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX held_keys_by_age ON held_keys (held_s);

-- Who is still to be given a held key, or was given it so short a while ago that the same request may be repeated.
CREATE TABLE claims (
    key_id    BLOB NOT NULL,
    slave     TEXT NOT NULL,
    request   BLOB,                          -- digest of the request that was answered; null before
    claimed_s REAL,
    PRIMARY KEY (key_id, slave)
) WITHOUT ROWID;
CREATE INDEX claims_by_age ON claims (claimed_s) WHERE claimed_s IS NOT NULL;

-- What was given to whom, or destroyed because nobody asked in time (slave is empty then). Rows are added, never removed.
CREATE TABLE collections (
    number  INTEGER PRIMARY KEY,
    slave   TEXT NOT NULL,
    key_ids BLOB NOT NULL,
    at_s    REAL NOT NULL
);

-- What may be said of the key of a block: nothing secret, JSON.
CREATE TABLE block_facts (
    block INTEGER PRIMARY KEY,
    facts TEXT NOT NULL
);
