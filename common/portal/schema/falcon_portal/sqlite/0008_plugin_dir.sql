-- Which plugin folders the hosts of a group run.
-- unless table plugin_dir
CREATE TABLE "plugin_dir" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  grp_id      INTEGER NOT NULL,
  dir         VARCHAR(255) COLLATE NOCASE NOT NULL,
  create_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
