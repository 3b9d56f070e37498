-- Hosts, as hbs hears of them. The times of maintenance are Unix seconds.
-- unless table host
CREATE TABLE `host` (
  `id`             int(10) unsigned NOT NULL AUTO_INCREMENT,
  `hostname`       varchar(255)     NOT NULL DEFAULT '',
  `ip`             varchar(16)      NOT NULL DEFAULT '',
  `agent_version`  varchar(16)      NOT NULL DEFAULT '',
  `plugin_version` varchar(128)     NOT NULL DEFAULT '',
  `maintain_begin` int(10) unsigned NOT NULL DEFAULT '0',
  `maintain_end`   int(10) unsigned NOT NULL DEFAULT '0',
  `update_at`      timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_host_hostname (hostname)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
