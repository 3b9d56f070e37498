-- Which template is bound to the hosts of a group that are in one environment. A table
-- beside grp_tpl, so that a stock hbs does not bind them to all.
-- unless table grp_tpl_env
CREATE TABLE `grp_tpl_env` (
  `id`        int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id`    int(10) unsigned NOT NULL,
  `tpl_id`    int(10) unsigned NOT NULL,
  `env`       varchar(16)      NOT NULL,
  `bind_user` varchar(64)      NOT NULL DEFAULT '',
  `create_at` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY uk_grp_tpl_env (grp_id, tpl_id, env),
  KEY idx_gte_tpl (tpl_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
