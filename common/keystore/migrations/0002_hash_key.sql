-- One row: which hash key the transcript tags are made with, and which are not trusted any more.
CREATE TABLE hash_key (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    number  INTEGER NOT NULL CHECK (number >= 0), -- the mask pair it is made of; 0 for the provisioned one, which is not kept here
    least   INTEGER NOT NULL CHECK (least >= 0),  -- none below this number is ever used again
    wrapped BLOB,                                 -- its data key, likewise wrapped as that of a piece
    sealed  BLOB
);
INSERT INTO hash_key (id, number, least) VALUES (1, 0, 0);
