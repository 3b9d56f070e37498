-- What people say about an alarm. Stock keys user_id to uic.user; no key leaves its database here.
-- unless table event_note
CREATE TABLE "event_note" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "event_caseId" VARCHAR(50) NULL DEFAULT NULL,
  "note" VARCHAR(300) COLLATE NOCASE NULL DEFAULT NULL,
  "case_id" VARCHAR(20) COLLATE NOCASE NULL DEFAULT NULL,
  "status" VARCHAR(15) COLLATE NOCASE NULL DEFAULT NULL,
  "timestamp" TIMESTAMP NULL DEFAULT NULL,
  "user_id" INTEGER NULL DEFAULT NULL,
  FOREIGN KEY (event_caseId) REFERENCES event_cases (id) ON DELETE CASCADE ON UPDATE CASCADE
);
