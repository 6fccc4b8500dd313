-- Key that was moved from one delivery pool to the other by agreement, at the end that gave it up and at the one that got it. Rows are added,
-- never removed. The guard is like that of `blocks`: a row that was altered is neither told to the peer nor believed.
CREATE TABLE moves (
    move        INTEGER PRIMARY KEY,
    handout     INTEGER NOT NULL,            -- under which the ledger has it where it lay
    block       INTEGER NOT NULL REFERENCES blocks (block),
    to_pool     TEXT    NOT NULL,
    to_byte     INTEGER NOT NULL CHECK (to_byte >= 0), -- where that pool's part of the block ended before
    from_byte   INTEGER NOT NULL CHECK (from_byte >= 0), -- in the part of the other delivery pool
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0),
    state       TEXT    NOT NULL CHECK (state IN ('offered', 'moved', 'refused')),
    guard       BLOB    NOT NULL
);
CREATE UNIQUE INDEX moves_by_place ON moves (block, to_pool, to_byte);
CREATE INDEX moves_offered ON moves (block) WHERE state = 'offered';
