-- Which tag, as k=v, occurs on which endpoint.
-- unless table tag_endpoint
CREATE TABLE "tag_endpoint" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  tag         VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  endpoint_id INTEGER NOT NULL,
  ts          INTEGER DEFAULT NULL,
  t_create    DATETIME NOT NULL,
  t_modify    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_tag_endpoint_id UNIQUE (tag, endpoint_id)
);
