-- Who took it.
-- unless column event_cases.acked_by
ALTER TABLE "event_cases" ADD COLUMN "acked_by" VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '';
