-- A key of events.
-- unless key events.idx_events_case
CREATE INDEX idx_events_case ON "events" (event_caseId);
