-- Choices of endpoints and counters behind the links of charts; ck is their MD5.
-- unless table tmp_graph
CREATE TABLE `tmp_graph` (
  `id`        int(11) unsigned NOT NULL AUTO_INCREMENT,
  `endpoints` varchar(10240)   NOT NULL DEFAULT '',
  `counters`  varchar(10240)   NOT NULL DEFAULT '',
  `ck`        varchar(32)      NOT NULL,
  `time_`     timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_ck (ck)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
