-- One message to one receiver through one channel. result: queued, sent, failed, dup.
-- unless table alarm_notice
CREATE TABLE "alarm_notice" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "event_caseId" VARCHAR(50) NOT NULL,
  "event_ts" DATETIME NOT NULL,
  "send_ts" DATETIME NOT NULL,
  "endpoint" VARCHAR(255) COLLATE NOCASE NOT NULL,
  "metric" VARCHAR(255) COLLATE NOCASE NOT NULL,
  "service" VARCHAR(128) COLLATE NOCASE NOT NULL DEFAULT '',
  "bg" VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  "priority" INTEGER NOT NULL,
  "status" VARCHAR(8) COLLATE NOCASE NOT NULL,
  "step" INTEGER NOT NULL,
  "action_id" INTEGER NOT NULL DEFAULT '0',
  "receiver" VARCHAR(64) COLLATE NOCASE NOT NULL,
  "channel" VARCHAR(64) COLLATE NOCASE NOT NULL,
  "result" VARCHAR(16) COLLATE NOCASE NOT NULL,
  "attempts" INTEGER NOT NULL DEFAULT '0',
  "answer" VARCHAR(500) COLLATE NOCASE NOT NULL DEFAULT '',
  CONSTRAINT uk_notice UNIQUE (event_caseId, event_ts, status, step, action_id, receiver, channel)
);
