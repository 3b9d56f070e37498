-- The text that a string strategy compares with.
-- unless column strategy.right_string
ALTER TABLE "strategy" ADD COLUMN right_string VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '';
