-- The teams that are told when nobody has taken a problem in hand, with commas.
-- unless column action.uic2
ALTER TABLE "action" ADD COLUMN uic2 VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '';
