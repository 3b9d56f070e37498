-- The name of the combination.
-- unless column strategy.multi_serial
ALTER TABLE "strategy" ADD COLUMN multi_serial VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '';
