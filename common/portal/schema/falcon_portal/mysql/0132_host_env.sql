-- In which environment a host is: prod, staging or test; empty for unknown.
-- unless table host_env
CREATE TABLE `host_env` (
  `hostname`    varchar(255) NOT NULL,
  `env`         varchar(16)  NOT NULL DEFAULT '',
  `parent_host` varchar(255) NOT NULL DEFAULT '',
  `service`     varchar(128) NOT NULL DEFAULT '',
  `bg`          varchar(64)  NOT NULL DEFAULT '',
  `update_at`   datetime     NULL,
  PRIMARY KEY (hostname),
  KEY idx_he_parent (parent_host)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
