-- Which template is bound to the hosts of a group that are in one environment. A table
-- beside grp_tpl, so that a stock hbs does not bind them to all.
-- unless table grp_tpl_env
CREATE TABLE "grp_tpl_env" (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  grp_id    INTEGER NOT NULL,
  tpl_id    INTEGER NOT NULL,
  env       VARCHAR(16) COLLATE NOCASE NOT NULL,
  bind_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT uk_grp_tpl_env UNIQUE (grp_id, tpl_id, env)
);
