-- Hosts, as hbs hears of them. The times of maintenance are Unix seconds.
-- unless table host
CREATE TABLE "host" (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  hostname       VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  ip             VARCHAR(16) COLLATE NOCASE NOT NULL DEFAULT '',
  agent_version  VARCHAR(16) COLLATE NOCASE NOT NULL DEFAULT '',
  plugin_version VARCHAR(128) COLLATE NOCASE NOT NULL DEFAULT '',
  maintain_begin INTEGER NOT NULL DEFAULT 0,
  maintain_end   INTEGER NOT NULL DEFAULT 0,
  update_at      TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT idx_host_hostname UNIQUE (hostname)
);
