-- One row: which store this is and how far it has come.
CREATE TABLE state (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    store_id     BLOB    NOT NULL CHECK (length(store_id) = 16),
    owner        INTEGER NOT NULL CHECK (owner IN (1, 2)),
    master_check BLOB    NOT NULL,
    next_block   INTEGER NOT NULL CHECK (next_block >= 1),
    mask_cursor  INTEGER NOT NULL CHECK (mask_cursor >= 0),
    handouts     INTEGER NOT NULL CHECK (handouts >= 0),
    doubted_next INTEGER,                   -- where this end stood when a greeting first cast doubt on either copy; null without doubt
    doubted      INTEGER NOT NULL DEFAULT 0 -- whether the latest greeting did
);

-- Every block that was ever staged, also when nothing is left of it: the greeting lists them.
CREATE TABLE blocks (
    block         INTEGER PRIMARY KEY CHECK (block >= 1),
    state         TEXT    NOT NULL CHECK (state IN ('staged', 'committed', 'erased')),
    count_bits    INTEGER NOT NULL CHECK (count_bits >= 0),
    rule          TEXT    NOT NULL,          -- as agreed when it was staged
    mask_cursor   INTEGER NOT NULL,          -- likewise
    reserve_floor INTEGER NOT NULL,          -- lowest pair above all provisioned ones, likewise
    reserve_first INTEGER NOT NULL DEFAULT 0,
    reserve_pairs INTEGER NOT NULL DEFAULT 0,
    damaged       INTEGER NOT NULL DEFAULT 0, -- whether something of it can no longer be read
    staged_s      REAL    NOT NULL,
    committed_s   REAL
);
CREATE INDEX blocks_by_reserve ON blocks (reserve_first) WHERE reserve_pairs > 0;
CREATE INDEX blocks_by_state ON blocks (state, block);
CREATE INDEX blocks_damaged ON blocks (block) WHERE damaged != 0;

-- How a committed block is shared out, and what is left of each share.
CREATE TABLE parts (
    block       INTEGER NOT NULL REFERENCES blocks (block),
    pool        TEXT    NOT NULL,
    first_bit   INTEGER NOT NULL CHECK (first_bit >= 0),
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0),
    left_bytes  INTEGER NOT NULL CHECK (left_bytes BETWEEN 0 AND count_bytes),
    PRIMARY KEY (block, pool)
) WITHOUT ROWID;
CREATE INDEX parts_left ON parts (pool, block, left_bytes) WHERE left_bytes > 0;

-- Sealed key, and apart from it the wrapped data keys: these are destroyed first.
CREATE TABLE pieces (
    piece       INTEGER PRIMARY KEY,
    block       INTEGER NOT NULL REFERENCES blocks (block),
    pool        TEXT    NOT NULL,            -- 'staged' until the block is shared out
    first_byte  INTEGER NOT NULL,
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0),
    sealed      BLOB    NOT NULL
);
CREATE UNIQUE INDEX pieces_by_place ON pieces (block, pool, first_byte, count_bytes);
CREATE TABLE piece_keys (
    piece   INTEGER PRIMARY KEY,
    wrapped BLOB    NOT NULL
);

CREATE TABLE condemned ( -- pieces whose data key is gone; swept away when nothing waits
    piece INTEGER PRIMARY KEY
);

-- The ledger: which bits are spent, and why. Rows are added, never removed; expected key becomes received, or is given back.
CREATE TABLE uses (
    use         INTEGER PRIMARY KEY AUTOINCREMENT,
    handout     INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    block       INTEGER NOT NULL,
    pool        TEXT    NOT NULL,
    first_byte  INTEGER NOT NULL CHECK (first_byte >= 0),
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0),
    purpose     TEXT    NOT NULL,
    at_s        REAL    NOT NULL,
    returned    INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (block, pool) REFERENCES parts (block, pool)
);
CREATE INDEX uses_by_place ON uses (block, pool, first_byte) WHERE returned = 0;
CREATE INDEX uses_by_handout ON uses (handout);
CREATE INDEX uses_expected ON uses (handout) WHERE kind = 'expected' AND returned = 0;
