-- Which plugin folders the hosts of a group run.
-- unless table plugin_dir
CREATE TABLE `plugin_dir` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id`      int(10) unsigned NOT NULL,
  `dir`         varchar(255)     NOT NULL,
  `create_user` varchar(64)      NOT NULL DEFAULT '',
  `create_at`   timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  KEY idx_plugin_dir_grp_id (grp_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
