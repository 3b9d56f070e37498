-- What happened to an alarm. status: 0 PROBLEM, 1 OK.
-- unless table events
CREATE TABLE "events" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "event_caseId" VARCHAR(50) NULL DEFAULT NULL,
  "step" INTEGER NULL DEFAULT NULL,
  "cond" VARCHAR(200) COLLATE NOCASE NOT NULL,
  "status" INTEGER DEFAULT '0',
  "timestamp" TIMESTAMP NULL DEFAULT NULL,
  FOREIGN KEY (event_caseId) REFERENCES event_cases (id) ON DELETE CASCADE ON UPDATE CASCADE
);
