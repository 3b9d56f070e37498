-- Templates of alarm rules.
-- unless table tpl
CREATE TABLE "tpl" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  tpl_name    VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  parent_id   INTEGER NOT NULL DEFAULT 0,
  action_id   INTEGER NOT NULL DEFAULT 0,
  create_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_tpl_name UNIQUE (tpl_name)
);
