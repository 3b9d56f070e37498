-- Host groups. come_from: 0 synchronised from elsewhere, 1 made on the page or through api.
-- unless table grp
CREATE TABLE "grp" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  grp_name    VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  create_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  come_from   INTEGER NOT NULL DEFAULT 0,
  CONSTRAINT idx_host_grp_grp_name UNIQUE (grp_name)
);
