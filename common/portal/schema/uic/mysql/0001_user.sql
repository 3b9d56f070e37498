-- People. role: -1 blocked, 0 normal, 1 admin, 2 root.
-- unless table user
CREATE TABLE `user` (
  `id`      int(10) unsigned NOT NULL AUTO_INCREMENT,
  `name`    varchar(64)      NOT NULL,
  `passwd`  varchar(64)      NOT NULL DEFAULT '',
  `cnname`  varchar(128)     NOT NULL DEFAULT '',
  `email`   varchar(255)     NOT NULL DEFAULT '',
  `phone`   varchar(16)      NOT NULL DEFAULT '',
  `im`      varchar(32)      NOT NULL DEFAULT '',
  `qq`      varchar(16)      NOT NULL DEFAULT '',
  `role`    tinyint(4)       NOT NULL DEFAULT '0',
  `creator` int(10) unsigned NOT NULL DEFAULT '0',
  `created` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_user_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
