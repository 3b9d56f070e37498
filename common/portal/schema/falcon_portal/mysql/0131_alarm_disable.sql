-- What tells nobody for a while, and until when; times are Unix seconds. type: 1 a host,
-- 2 a template, 3 a strategy, 4 a strategy on a host, 5 a template on a group.
-- unless table alarm_disable
CREATE TABLE `alarm_disable` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `type`        tinyint(4)       NOT NULL,
  `host_id`     int(10) unsigned NOT NULL DEFAULT '0',
  `tpl_id`      int(10) unsigned NOT NULL DEFAULT '0',
  `strategy_id` int(10) unsigned NOT NULL DEFAULT '0',
  `grp_id`      int(10) unsigned NOT NULL DEFAULT '0',
  `begin_ts`    int(10) unsigned NOT NULL,
  `end_ts`      int(10) unsigned NOT NULL,
  `duration`    varchar(4)       NOT NULL,
  `reason`      varchar(255)     NOT NULL DEFAULT '',
  `operator`    varchar(64)      NOT NULL DEFAULT '',
  `create_at`   timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `cancel_ts`   int(10) unsigned NOT NULL DEFAULT '0',
  `cancel_user` varchar(64)      NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  KEY idx_disable_end (end_ts),
  KEY idx_disable_host (host_id),
  KEY idx_disable_tpl (tpl_id),
  KEY idx_disable_sid (strategy_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
