-- Values that nodata reports for series that went silent.
-- unless table mockcfg
CREATE TABLE `mockcfg` (
  `id`       bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `name`     varchar(255)        NOT NULL DEFAULT '',
  `obj`      varchar(10240)      NOT NULL DEFAULT '',
  `obj_type` varchar(255)        NOT NULL DEFAULT '',
  `metric`   varchar(128)        NOT NULL DEFAULT '',
  `tags`     varchar(1024)       NOT NULL DEFAULT '',
  `dstype`   varchar(32)         NOT NULL DEFAULT 'GAUGE',
  `step`     int(11) unsigned    NOT NULL DEFAULT '60',
  `mock`     double              NOT NULL DEFAULT '0',
  `creator`  varchar(64)         NOT NULL DEFAULT '',
  `t_create` datetime            NOT NULL,
  `t_modify` timestamp           NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY uniq_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
