-- Metrics that are computed over the hosts of a group.
-- unless table cluster
CREATE TABLE "cluster" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  grp_id      INTEGER NOT NULL,
  numerator   VARCHAR(10240) COLLATE NOCASE NOT NULL,
  denominator VARCHAR(10240) COLLATE NOCASE NOT NULL,
  endpoint    VARCHAR(255) COLLATE NOCASE NOT NULL,
  metric      VARCHAR(255) COLLATE NOCASE NOT NULL,
  tags        VARCHAR(255) COLLATE NOCASE NOT NULL,
  ds_type     VARCHAR(255) COLLATE NOCASE NOT NULL,
  step        INTEGER NOT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  creator     VARCHAR(255) COLLATE NOCASE NOT NULL
);
