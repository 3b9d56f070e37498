-- The key of stock's table session.
-- unless key session.idx_session_uid
CREATE INDEX idx_session_uid ON "session" (uid);
