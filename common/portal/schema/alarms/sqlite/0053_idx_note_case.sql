-- A key of event_note.
-- unless key event_note.idx_note_case
CREATE INDEX idx_note_case ON "event_note" (event_caseId);
