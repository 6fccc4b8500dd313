-- What each application was given here on its order, by slots of ten minutes; slots of more than a day ago are removed.
CREATE TABLE drawn (
    master      TEXT    NOT NULL,
    slot        INTEGER NOT NULL,            -- Unix time in slots
    count_bytes INTEGER NOT NULL CHECK (count_bytes > 0),
    PRIMARY KEY (master, slot)
) WITHOUT ROWID;
CREATE INDEX drawn_by_slot ON drawn (slot);

-- Orders of the last day before this version.
INSERT INTO drawn (master, slot, count_bytes)
SELECT master, CAST(at_s / 600 AS INTEGER), SUM(count_bytes * (length(key_ids) / 16)) FROM orders
WHERE at_s > strftime('%s', 'now') - 90000 AND handout IN (SELECT handout FROM uses WHERE kind = 'taken')
GROUP BY 1, 2;
