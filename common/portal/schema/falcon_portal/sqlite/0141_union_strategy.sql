-- Combinations of strategies: all of a host's conditions make one alarm. The fork has the
-- table, with the first two columns.
-- unless table union_strategy
CREATE TABLE "union_strategy" (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  strategy_ids VARCHAR(1024) COLLATE NOCASE NOT NULL DEFAULT '',
  name         VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  create_user  VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
