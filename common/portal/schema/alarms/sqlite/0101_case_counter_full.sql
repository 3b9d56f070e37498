-- The counter, where the column metric is too narrow.
-- unless column event_cases.counter_full
ALTER TABLE "event_cases" ADD COLUMN "counter_full" TEXT NULL;
