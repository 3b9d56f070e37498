-- The key of stock's table session.
-- unless key session.idx_session_sig
CREATE INDEX idx_session_sig ON "session" (sig);
