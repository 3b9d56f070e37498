-- A key of event_cases.
-- unless key event_cases.idx_case_timestamp
CREATE INDEX idx_case_timestamp ON "event_cases" (timestamp);
