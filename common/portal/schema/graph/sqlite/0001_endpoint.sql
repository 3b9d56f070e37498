-- Everything that reports. ts: Unix time of its newest report.
-- unless table endpoint
CREATE TABLE "endpoint" (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  ts       INTEGER DEFAULT NULL,
  t_create DATETIME NOT NULL,
  t_modify TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_endpoint UNIQUE (endpoint)
);
