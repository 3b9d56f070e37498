-- What agents of ours report beyond stock: which machine has the name, and its upgrade.
-- unless table host_agent
CREATE TABLE "host_agent" (
  hostname      VARCHAR(255) COLLATE NOCASE PRIMARY KEY NOT NULL,
  machine_id    VARCHAR(64) NOT NULL DEFAULT '',
  boot_id       VARCHAR(64) NOT NULL DEFAULT '',
  config_md5    VARCHAR(32) NOT NULL DEFAULT '',
  upgrade_error VARCHAR(1024) NOT NULL DEFAULT '',
  also_claimed  VARCHAR(255) NOT NULL DEFAULT ''
);
