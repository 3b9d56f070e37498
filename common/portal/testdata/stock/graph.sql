-- The database graph of a stock installation, with rows.
CREATE TABLE `endpoint` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `endpoint` varchar(255) NOT NULL DEFAULT '',
  `ts` int(11) DEFAULT NULL,
  `t_create` datetime NOT NULL,
  `t_modify` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_endpoint` (`endpoint`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `tag_endpoint` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `tag` varchar(255) NOT NULL DEFAULT '',
  `endpoint_id` int(10) unsigned NOT NULL,
  `ts` int(11) DEFAULT NULL,
  `t_create` datetime NOT NULL,
  `t_modify` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_tag_endpoint_id` (`tag`,`endpoint_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `endpoint_counter` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `endpoint_id` int(10) unsigned NOT NULL,
  `counter` varchar(255) NOT NULL DEFAULT '',
  `step` int(11) NOT NULL DEFAULT '60',
  `type` varchar(16) NOT NULL,
  `ts` int(11) DEFAULT NULL,
  `t_create` datetime NOT NULL,
  `t_modify` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_endpoint_id_counter` (`endpoint_id`,`counter`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `endpoint` VALUES (151,'it-h1',1577934240,'2020-01-02 03:04:05','2020-01-02 03:04:05'),(152,'silent',NULL,'2020-01-02 03:04:05','2020-01-02 03:04:05');
INSERT INTO `tag_endpoint` VALUES (7,'k=v',151,1577934240,'2020-01-02 03:04:05','2020-01-02 03:04:05');
INSERT INTO `endpoint_counter` VALUES (9,151,'it.qc/k=v',60,'COUNTER',1577934240,'2020-01-02 03:04:05','2020-01-02 03:04:05');
