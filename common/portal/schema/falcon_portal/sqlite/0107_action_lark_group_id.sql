-- The fork's chat group of an action.
-- unless column action.lark_group_id
ALTER TABLE "action" ADD COLUMN lark_group_id VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '';
