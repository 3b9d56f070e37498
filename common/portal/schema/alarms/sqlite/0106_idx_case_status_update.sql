-- A key of event_cases.
-- unless key event_cases.idx_case_status_update
CREATE INDEX idx_case_status_update ON "event_cases" (status, update_at);
