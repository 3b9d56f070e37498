-- Which services of systemd the agents of a group measure. The fork reads the table.
-- unless table grp_svs
CREATE TABLE "grp_svs" (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  grp_id    INTEGER NOT NULL,
  svs_name  VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT uk_grp_svs UNIQUE (grp_id, svs_name)
);
