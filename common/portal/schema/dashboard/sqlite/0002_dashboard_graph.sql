-- Graphs of screens. hosts and counters are lists joined by |, sorted.
-- unless table dashboard_graph
CREATE TABLE "dashboard_graph" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  title       CHAR(128) COLLATE NOCASE NOT NULL,
  hosts       VARCHAR(10240) COLLATE NOCASE NOT NULL DEFAULT '',
  counters    VARCHAR(1024) COLLATE NOCASE NOT NULL DEFAULT '',
  screen_id   INTEGER NOT NULL,
  timespan    INTEGER NOT NULL DEFAULT 3600,
  graph_type  CHAR(2) COLLATE NOCASE NOT NULL DEFAULT 'h',
  method      CHAR(8) COLLATE NOCASE DEFAULT '',
  position    INTEGER NOT NULL DEFAULT 0,
  falcon_tags VARCHAR(512) COLLATE NOCASE NOT NULL DEFAULT ''
);
