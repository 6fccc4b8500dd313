-- By which a row that was altered is noticed: how a block is shared out rests on it, and on those before it. Null for blocks of earlier versions.
ALTER TABLE blocks ADD COLUMN guard BLOB;
