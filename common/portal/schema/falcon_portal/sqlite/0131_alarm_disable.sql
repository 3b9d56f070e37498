-- What tells nobody for a while, and until when; times are Unix seconds. type: 1 a host,
-- 2 a template, 3 a strategy, 4 a strategy on a host, 5 a template on a group.
-- unless table alarm_disable
CREATE TABLE "alarm_disable" (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  type        INTEGER NOT NULL,
  host_id     INTEGER NOT NULL DEFAULT 0,
  tpl_id      INTEGER NOT NULL DEFAULT 0,
  strategy_id INTEGER NOT NULL DEFAULT 0,
  grp_id      INTEGER NOT NULL DEFAULT 0,
  begin_ts    INTEGER NOT NULL,
  end_ts      INTEGER NOT NULL,
  duration    VARCHAR(4) COLLATE NOCASE NOT NULL,
  reason      VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  operator    VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  create_at   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  cancel_ts   INTEGER NOT NULL DEFAULT 0,
  cancel_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT ''
);
