-- The channels of alarm that an action tells people through, by name with commas; empty means all that are enabled.
-- unless column action.channels
ALTER TABLE "action" ADD COLUMN channels VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '';
