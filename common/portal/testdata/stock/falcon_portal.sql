-- The database falcon_portal of a stock installation, with rows.
CREATE TABLE `host` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `hostname` varchar(255) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `ip` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `agent_version` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `plugin_version` varchar(128) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `maintain_begin` int(10) unsigned NOT NULL DEFAULT '0',
  `maintain_end` int(10) unsigned NOT NULL DEFAULT '0',
  `update_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_host_hostname` (`hostname`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `grp` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_name` varchar(255) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `create_user` varchar(64) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `create_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `come_from` tinyint(4) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_host_grp_grp_name` (`grp_name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `grp_host` (
  `grp_id` int(10) unsigned NOT NULL,
  `host_id` int(10) unsigned NOT NULL,
  KEY `idx_grp_host_grp_id` (`grp_id`),
  KEY `idx_grp_host_host_id` (`host_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `tpl` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `tpl_name` varchar(255) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `parent_id` int(10) unsigned NOT NULL DEFAULT '0',
  `action_id` int(10) unsigned NOT NULL DEFAULT '0',
  `create_user` varchar(64) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `create_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `idx_tpl_name` (`tpl_name`),
  KEY `idx_tpl_create_user` (`create_user`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `strategy` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `metric` varchar(128) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `tags` varchar(256) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `max_step` int(11) NOT NULL DEFAULT '1',
  `priority` tinyint(4) NOT NULL DEFAULT '0',
  `func` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT 'all(#1)',
  `op` varchar(8) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `right_value` varchar(64) COLLATE utf8_unicode_ci NOT NULL,
  `note` varchar(128) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `run_begin` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `run_end` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `tpl_id` int(10) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`),
  KEY `idx_strategy_tpl_id` (`tpl_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `expression` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `expression` varchar(1024) COLLATE utf8_unicode_ci NOT NULL,
  `func` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT 'all(#1)',
  `op` varchar(8) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `right_value` varchar(16) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `max_step` int(11) NOT NULL DEFAULT '1',
  `priority` tinyint(4) NOT NULL DEFAULT '0',
  `note` varchar(1024) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `action_id` int(10) unsigned NOT NULL DEFAULT '0',
  `create_user` varchar(64) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `pause` tinyint(1) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `grp_tpl` (
  `grp_id` int(10) unsigned NOT NULL,
  `tpl_id` int(10) unsigned NOT NULL,
  `bind_user` varchar(64) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  KEY `idx_grp_tpl_grp_id` (`grp_id`),
  KEY `idx_grp_tpl_tpl_id` (`tpl_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `plugin_dir` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id` int(10) unsigned NOT NULL,
  `dir` varchar(255) COLLATE utf8_unicode_ci NOT NULL,
  `create_user` varchar(64) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `create_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  KEY `idx_plugin_dir_grp_id` (`grp_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `action` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `uic` varchar(255) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `url` varchar(255) COLLATE utf8_unicode_ci NOT NULL DEFAULT '',
  `callback` tinyint(4) NOT NULL DEFAULT '0',
  `before_callback_sms` tinyint(4) NOT NULL DEFAULT '0',
  `before_callback_mail` tinyint(4) NOT NULL DEFAULT '0',
  `after_callback_sms` tinyint(4) NOT NULL DEFAULT '0',
  `after_callback_mail` tinyint(4) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
CREATE TABLE `cluster` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id` int(11) NOT NULL,
  `numerator` varchar(10240) NOT NULL,
  `denominator` varchar(10240) NOT NULL,
  `endpoint` varchar(255) NOT NULL,
  `metric` varchar(255) NOT NULL,
  `tags` varchar(255) NOT NULL,
  `ds_type` varchar(255) NOT NULL,
  `step` int(11) NOT NULL,
  `last_update` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `creator` varchar(255) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `mockcfg` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(255) NOT NULL DEFAULT '',
  `obj` varchar(10240) NOT NULL DEFAULT '',
  `obj_type` varchar(255) NOT NULL DEFAULT '',
  `metric` varchar(128) NOT NULL DEFAULT '',
  `tags` varchar(1024) NOT NULL DEFAULT '',
  `dstype` varchar(32) NOT NULL DEFAULT 'GAUGE',
  `step` int(11) unsigned NOT NULL DEFAULT '60',
  `mock` double NOT NULL DEFAULT '0',
  `creator` varchar(64) NOT NULL DEFAULT '',
  `t_create` datetime NOT NULL,
  `t_modify` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uniq_name` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE `alert_link` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `path` varchar(16) NOT NULL DEFAULT '',
  `content` mediumtext NOT NULL,
  `create_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `alert_path` (`path`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `host` VALUES (1,'it-agent','10.0.0.1','5.1.2','plugin not enabled',0,0,'2020-01-02 03:04:05'),(2,'it-h1','','','',1577934245,1577937845,'2020-01-02 03:04:05');
INSERT INTO `grp` VALUES (1,'it-all','root','2020-01-02 03:04:05',1),(2,'机房','root','2020-01-02 03:04:05',0);
INSERT INTO `grp_host` VALUES (1,1),(1,2),(1,2),(2,2);
INSERT INTO `action` VALUES (1,'运维','http://127.0.0.1/callback',1,0,0,0,0),(2,'运维','',0,0,0,0,0);
INSERT INTO `tpl` VALUES (1,'it-tpl',0,1,'root','2020-01-02 03:04:05'),(2,'it-child',1,0,'root','2020-01-02 03:04:05');
INSERT INTO `strategy` VALUES (1,'cpu.idle','',3,0,'all(#3)','<','10','','','',1),(2,'df.bytes.free.percent','mount=/',3,1,'all(#1)','<','5','磁盘','08:00','20:00',2);
INSERT INTO `expression` VALUES (1,'each(metric=qps srv=pay)','all(#3)','>','1000',3,2,'',2,'root',0);
INSERT INTO `grp_tpl` VALUES (1,1,'root'),(2,2,'root');
INSERT INTO `plugin_dir` VALUES (1,1,'sys/ntp','root','2020-01-02 03:04:05');
INSERT INTO `cluster` VALUES (1,1,'$(cpu.idle)','$#','it-cluster','cpu.idle.avg','','GAUGE',60,'2020-01-02 03:04:05','root');
INSERT INTO `mockcfg` VALUES (1,'it-nodata','it-h1','host','agent.alive','','GAUGE',60,-1,'root','2020-01-02 03:04:05','2020-01-02 03:04:05');
INSERT INTO `alert_link` VALUES (1,'Ab3dEf6hI','[P3][PROBLEM]','2020-01-02 03:04:05');
