-- In which environment a host is: prod, staging or test; empty for unknown.
-- unless table host_env
CREATE TABLE "host_env" (
  hostname    VARCHAR(255) COLLATE NOCASE PRIMARY KEY NOT NULL,
  env         VARCHAR(16) COLLATE NOCASE NOT NULL DEFAULT '',
  parent_host VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  service     VARCHAR(128) COLLATE NOCASE NOT NULL DEFAULT '',
  bg          VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  update_at   DATETIME NULL
);
