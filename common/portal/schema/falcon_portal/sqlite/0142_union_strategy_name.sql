-- What the fork's table lacks.
-- unless column union_strategy.name
ALTER TABLE "union_strategy" ADD COLUMN name VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '';
