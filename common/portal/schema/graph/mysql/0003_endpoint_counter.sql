-- Every series. type: GAUGE or DERIVE (stock also knows COUNTER).
-- unless table endpoint_counter
CREATE TABLE `endpoint_counter` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `endpoint_id` int(10) unsigned NOT NULL,
  `counter`     varchar(255)     NOT NULL DEFAULT '',
  `step`        int(11)          NOT NULL DEFAULT '60',
  `type`        varchar(16)      NOT NULL,
  `ts`          int(11)          DEFAULT NULL,
  `t_create`    datetime         NOT NULL,
  `t_modify`    timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_endpoint_id_counter (endpoint_id, counter)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
