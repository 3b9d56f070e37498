-- A key of events.
-- unless key events.idx_events_timestamp
CREATE INDEX idx_events_timestamp ON "events" (timestamp);
