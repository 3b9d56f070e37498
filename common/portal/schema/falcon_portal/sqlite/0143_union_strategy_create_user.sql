-- What the fork's table lacks.
-- unless column union_strategy.create_user
ALTER TABLE "union_strategy" ADD COLUMN create_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '';
