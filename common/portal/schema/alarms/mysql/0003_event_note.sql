-- What people say about an alarm. Stock keys user_id to uic.user; no key leaves its database here.
-- unless table event_note
CREATE TABLE `event_note` (
  `id` mediumint(9) NOT NULL AUTO_INCREMENT,
  `event_caseId` varchar(50) NULL DEFAULT NULL,
  `note` varchar(300) NULL DEFAULT NULL,
  `case_id` varchar(20) NULL DEFAULT NULL,
  `status` varchar(15) NULL DEFAULT NULL,
  `timestamp` timestamp NULL DEFAULT NULL,
  `user_id` int(10) unsigned NULL DEFAULT NULL,
  PRIMARY KEY (id),
  KEY idx_note_case (event_caseId),
  KEY idx_note_user (user_id),
  FOREIGN KEY (event_caseId) REFERENCES event_cases (id) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
