-- Who is in which team.
-- unless table rel_team_user
CREATE TABLE "rel_team_user" (
  id  INTEGER PRIMARY KEY AUTOINCREMENT,
  tid INTEGER NOT NULL,
  uid INTEGER NOT NULL
);
