-- The teams of an alarm.
-- unless table event_case_team
CREATE TABLE `event_case_team` (
  `event_caseId` varchar(50) NOT NULL,
  `team` varchar(64) NOT NULL,
  PRIMARY KEY (event_caseId, team),
  KEY idx_ect_team (team)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
