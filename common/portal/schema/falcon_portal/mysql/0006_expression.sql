-- Alarm rules that need no template.
-- unless table expression
CREATE TABLE `expression` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `expression`  varchar(1024)    NOT NULL,
  `func`        varchar(16)      NOT NULL DEFAULT 'all(#1)',
  `op`          varchar(8)       NOT NULL DEFAULT '',
  `right_value` varchar(16)      NOT NULL DEFAULT '',
  `max_step`    int(11)          NOT NULL DEFAULT '1',
  `priority`    tinyint(4)       NOT NULL DEFAULT '0',
  `note`        varchar(1024)    NOT NULL DEFAULT '',
  `action_id`   int(10) unsigned NOT NULL DEFAULT '0',
  `create_user` varchar(64)      NOT NULL DEFAULT '',
  `pause`       tinyint(1)       NOT NULL DEFAULT '0',
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
