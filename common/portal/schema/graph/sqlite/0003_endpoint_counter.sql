-- Every series. type: GAUGE or DERIVE (stock also knows COUNTER).
-- unless table endpoint_counter
CREATE TABLE "endpoint_counter" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint_id INTEGER NOT NULL,
  counter     VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  step        INTEGER NOT NULL DEFAULT 60,
  type        VARCHAR(16) COLLATE NOCASE NOT NULL,
  ts          INTEGER DEFAULT NULL,
  t_create    DATETIME NOT NULL,
  t_modify    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_endpoint_id_counter UNIQUE (endpoint_id, counter)
);
