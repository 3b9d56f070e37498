-- A key of events.
-- unless key events.idx_events_timestamp
ALTER TABLE `events` ADD KEY idx_events_timestamp (timestamp);
