-- What agents of ours report beyond stock: which machine has the name, and its upgrade.
-- unless table host_agent
CREATE TABLE `host_agent` (
  `hostname`      varchar(255)  NOT NULL,
  `machine_id`    varchar(64)   NOT NULL DEFAULT '',
  `boot_id`       varchar(64)   NOT NULL DEFAULT '',
  `config_md5`    varchar(32)   NOT NULL DEFAULT '',
  `upgrade_error` varchar(1024) NOT NULL DEFAULT '',
  `also_claimed`  varchar(255)  NOT NULL DEFAULT '',
  PRIMARY KEY (hostname)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
