-- One message to one receiver through one channel. result: queued, sent, failed, dup.
-- unless table alarm_notice
CREATE TABLE `alarm_notice` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `event_caseId` varchar(50) NOT NULL,
  `event_ts` datetime NOT NULL,
  `send_ts` datetime NOT NULL,
  `endpoint` varchar(255) NOT NULL,
  `metric` varchar(255) NOT NULL,
  `service` varchar(128) NOT NULL DEFAULT '',
  `bg` varchar(64) NOT NULL DEFAULT '',
  `priority` tinyint(4) NOT NULL,
  `status` varchar(8) NOT NULL,
  `step` int(11) NOT NULL,
  `action_id` int(10) unsigned NOT NULL DEFAULT '0',
  `receiver` varchar(64) NOT NULL,
  `channel` varchar(64) NOT NULL,
  `result` varchar(16) NOT NULL,
  `attempts` int(11) NOT NULL DEFAULT '0',
  `answer` varchar(500) NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  UNIQUE KEY uk_notice (event_caseId, event_ts, status, step, action_id, receiver, channel),
  KEY idx_notice_ts (event_ts),
  KEY idx_notice_recv (receiver, event_ts)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
