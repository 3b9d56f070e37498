-- How many members the combination has.
-- unless column strategy.multi_count
ALTER TABLE "strategy" ADD COLUMN multi_count INTEGER NOT NULL DEFAULT 0;
