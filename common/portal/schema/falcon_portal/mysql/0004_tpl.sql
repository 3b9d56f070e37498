-- Templates of alarm rules.
-- unless table tpl
CREATE TABLE `tpl` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `tpl_name`    varchar(255)     NOT NULL DEFAULT '',
  `parent_id`   int(10) unsigned NOT NULL DEFAULT '0',
  `action_id`   int(10) unsigned NOT NULL DEFAULT '0',
  `create_user` varchar(64)      NOT NULL DEFAULT '',
  `create_at`   timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_tpl_name (tpl_name),
  KEY idx_tpl_create_user (create_user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
