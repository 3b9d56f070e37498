-- Host groups. come_from: 0 synchronised from elsewhere, 1 made on the page or through api.
-- unless table grp
CREATE TABLE `grp` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_name`    varchar(255)     NOT NULL DEFAULT '',
  `create_user` varchar(64)      NOT NULL DEFAULT '',
  `create_at`   timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `come_from`   tinyint(4)       NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  UNIQUE KEY idx_host_grp_grp_name (grp_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
