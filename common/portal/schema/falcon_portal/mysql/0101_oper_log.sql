-- Who changed what, when, and from where.
-- unless table oper_log
CREATE TABLE `oper_log` (
  `id`          bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `ts`          datetime            NOT NULL,
  `user_name`   varchar(64)         NOT NULL,
  `source`      varchar(16)         NOT NULL DEFAULT '',
  `remote_ip`   varchar(64)         NOT NULL DEFAULT '',
  `object`      varchar(32)         NOT NULL,
  `object_id`   varchar(64)         NOT NULL DEFAULT '',
  `op`          varchar(16)         NOT NULL,
  `before_json` mediumtext          NULL,
  `after_json`  mediumtext          NULL,
  PRIMARY KEY (id),
  KEY idx_oper_obj (object, object_id),
  KEY idx_oper_user_ts (user_name, ts)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
