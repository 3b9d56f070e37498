-- Everything that reports. ts: Unix time of its newest report.
-- unless table endpoint
CREATE TABLE `endpoint` (
  `id`       int(10) unsigned NOT NULL AUTO_INCREMENT,
  `endpoint` varchar(255)     NOT NULL DEFAULT '',
  `ts`       int(11)          DEFAULT NULL,
  `t_create` datetime         NOT NULL,
  `t_modify` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_endpoint (endpoint)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
