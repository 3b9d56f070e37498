-- A key of event_note.
-- unless key event_note.idx_note_user
CREATE INDEX idx_note_user ON "event_note" (user_id);
