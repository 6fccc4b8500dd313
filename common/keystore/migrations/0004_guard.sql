-- By which a row that was altered is noticed: sharing out later blocks rests on those that are committed. Null for blocks of earlier versions.
ALTER TABLE blocks ADD COLUMN guard BLOB;
