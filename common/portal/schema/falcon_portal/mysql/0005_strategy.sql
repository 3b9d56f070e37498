-- Alarm rules of templates.
-- unless table strategy
CREATE TABLE `strategy` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `metric`      varchar(128)     NOT NULL DEFAULT '',
  `tags`        varchar(256)     NOT NULL DEFAULT '',
  `max_step`    int(11)          NOT NULL DEFAULT '1',
  `priority`    tinyint(4)       NOT NULL DEFAULT '0',
  `func`        varchar(16)      NOT NULL DEFAULT 'all(#1)',
  `op`          varchar(8)       NOT NULL DEFAULT '',
  `right_value` varchar(64)      NOT NULL,
  `note`        varchar(128)     NOT NULL DEFAULT '',
  `run_begin`   varchar(16)      NOT NULL DEFAULT '',
  `run_end`     varchar(16)      NOT NULL DEFAULT '',
  `tpl_id`      int(10) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_strategy_tpl_id (tpl_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
