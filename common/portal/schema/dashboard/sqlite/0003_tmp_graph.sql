-- Choices of endpoints and counters behind the links of charts; ck is their MD5.
-- unless table tmp_graph
CREATE TABLE "tmp_graph" (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoints VARCHAR(10240) COLLATE NOCASE NOT NULL DEFAULT '',
  counters  VARCHAR(10240) COLLATE NOCASE NOT NULL DEFAULT '',
  ck        VARCHAR(32) COLLATE NOCASE NOT NULL,
  time_     TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_ck UNIQUE (ck)
);
