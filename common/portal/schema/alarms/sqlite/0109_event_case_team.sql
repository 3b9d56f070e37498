-- The teams of an alarm.
-- unless table event_case_team
CREATE TABLE "event_case_team" (
  "event_caseId" VARCHAR(50) NOT NULL,
  "team" VARCHAR(64) COLLATE NOCASE NOT NULL,
  PRIMARY KEY (event_caseId, team)
);
