-- One alarm each: a rule and a series.
-- unless table event_cases
CREATE TABLE `event_cases` (
  `id` varchar(50) NOT NULL,
  `endpoint` varchar(100) NOT NULL,
  `metric` varchar(200) NOT NULL,
  `func` varchar(50) NULL DEFAULT NULL,
  `cond` varchar(200) NOT NULL,
  `note` varchar(500) NULL DEFAULT NULL,
  `max_step` int(10) unsigned NULL DEFAULT NULL,
  `current_step` int(10) unsigned NULL DEFAULT NULL,
  `priority` int(6) NOT NULL,
  `status` varchar(20) NOT NULL,
  `timestamp` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `update_at` timestamp NULL DEFAULT NULL,
  `closed_at` timestamp NULL DEFAULT NULL,
  `closed_note` varchar(250) NULL DEFAULT NULL,
  `user_modified` int(10) unsigned NULL DEFAULT NULL,
  `tpl_creator` varchar(64) NULL DEFAULT NULL,
  `expression_id` int(10) unsigned NULL DEFAULT NULL,
  `strategy_id` int(10) unsigned NULL DEFAULT NULL,
  `template_id` int(10) unsigned NULL DEFAULT NULL,
  `process_note` mediumint(9) NULL DEFAULT NULL,
  `process_status` varchar(20) DEFAULT 'unresolved',
  PRIMARY KEY (id),
  KEY idx_case_rule (endpoint, strategy_id, template_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
