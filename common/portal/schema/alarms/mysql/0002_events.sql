-- What happened to an alarm. status: 0 PROBLEM, 1 OK.
-- unless table events
CREATE TABLE `events` (
  `id` int(10) NOT NULL AUTO_INCREMENT,
  `event_caseId` varchar(50) NULL DEFAULT NULL,
  `step` int(10) unsigned NULL DEFAULT NULL,
  `cond` varchar(200) NOT NULL,
  `status` int(3) unsigned DEFAULT '0',
  `timestamp` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (id),
  KEY idx_events_case (event_caseId),
  FOREIGN KEY (event_caseId) REFERENCES event_cases (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
