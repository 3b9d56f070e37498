-- What a strategy compares: string, or a number when it is empty.
-- unless column strategy.value_type
ALTER TABLE "strategy" ADD COLUMN value_type VARCHAR(8) COLLATE NOCASE NOT NULL DEFAULT '';
