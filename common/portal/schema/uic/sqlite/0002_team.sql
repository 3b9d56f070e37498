-- Teams of people, the receivers of alarms.
-- unless table team
CREATE TABLE "team" (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  name    VARCHAR(64) COLLATE NOCASE NOT NULL,
  resume  VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  creator INTEGER NOT NULL DEFAULT 0,
  created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_team_name UNIQUE (name)
);
