-- The database alarms of a stock installation, with rows. {uic} is the database uic.
CREATE TABLE `event_cases` (
  `id` varchar(50),
  `endpoint` varchar(100) NOT NULL,
  `metric` varchar(200) NOT NULL,
  `func` varchar(50),
  `cond` varchar(200) NOT NULL,
  `note` varchar(500),
  `max_step` int(10) unsigned,
  `current_step` int(10) unsigned,
  `priority` int(6) NOT NULL,
  `status` varchar(20) NOT NULL,
  `timestamp` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `update_at` timestamp NULL DEFAULT NULL,
  `closed_at` timestamp NULL DEFAULT NULL,
  `closed_note` varchar(250),
  `user_modified` int(10) unsigned,
  `tpl_creator` varchar(64),
  `expression_id` int(10) unsigned,
  `strategy_id` int(10) unsigned,
  `template_id` int(10) unsigned,
  `process_note` mediumint(9),
  `process_status` varchar(20) DEFAULT 'unresolved',
  PRIMARY KEY (`id`),
  KEY `endpoint` (`endpoint`,`strategy_id`,`template_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `events` (
  `id` int(10) NOT NULL AUTO_INCREMENT,
  `event_caseId` varchar(50),
  `step` int(10) unsigned,
  `cond` varchar(200) NOT NULL,
  `status` int(3) unsigned DEFAULT '0',
  `timestamp` timestamp,
  PRIMARY KEY (`id`),
  KEY `event_caseId` (`event_caseId`),
  FOREIGN KEY (`event_caseId`) REFERENCES `event_cases` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `event_note` (
  `id` mediumint(9) NOT NULL AUTO_INCREMENT,
  `event_caseId` varchar(50),
  `note` varchar(300),
  `case_id` varchar(20),
  `status` varchar(15),
  `timestamp` timestamp,
  `user_id` int(10) unsigned,
  PRIMARY KEY (`id`),
  KEY `event_caseId` (`event_caseId`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`event_caseId`) REFERENCES `event_cases` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (`user_id`) REFERENCES `{uic}`.`user` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `event_cases` VALUES ('s_1_5a7c0c3f899fabdd3f9062ab1a6fb184','it-h1','cpu.idle','all(#3)','5 < 10','',3,2,0,'PROBLEM','2020-01-02 03:04:05','2020-01-02 03:09:05',NULL,NULL,NULL,'root',0,1,1,1,'in progress');
INSERT INTO `events` VALUES (1,'s_1_5a7c0c3f899fabdd3f9062ab1a6fb184',1,'5 < 10',0,'2020-01-02 03:04:05'),(2,'s_1_5a7c0c3f899fabdd3f9062ab1a6fb184',2,'4 < 10',0,'2020-01-02 03:09:05');
INSERT INTO `event_note` VALUES (1,'s_1_5a7c0c3f899fabdd3f9062ab1a6fb184','看一下','','in progress','2020-01-02 03:05:05',2);
