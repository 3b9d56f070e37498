-- When it was taken.
-- unless column event_cases.acked_at
ALTER TABLE "event_cases" ADD COLUMN "acked_at" DATETIME NULL;
