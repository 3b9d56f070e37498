-- Screens of graphs, as a tree: pid is another screen, 0 for none.
-- unless table dashboard_screen
CREATE TABLE "dashboard_screen" (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  pid  INTEGER NOT NULL DEFAULT 0,
  name CHAR(128) COLLATE NOCASE NOT NULL,
  time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_pid_n UNIQUE (pid, name)
);
