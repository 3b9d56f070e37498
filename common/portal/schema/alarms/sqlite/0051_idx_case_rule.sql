-- A key of event_cases.
-- unless key event_cases.idx_case_rule
CREATE INDEX idx_case_rule ON "event_cases" (endpoint, strategy_id, template_id);
