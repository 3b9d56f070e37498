-- Which services of systemd the agents of a group measure. The fork reads the table.
-- unless table grp_svs
CREATE TABLE `grp_svs` (
  `id`        int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id`    int(10) unsigned NOT NULL,
  `svs_name`  varchar(255)     NOT NULL DEFAULT '',
  `create_at` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY uk_grp_svs (grp_id, svs_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
