-- A key of event_case_team.
-- unless key event_case_team.idx_ect_team
CREATE INDEX idx_ect_team ON "event_case_team" (team);
