-- The key of stock's table dashboard_screen.
-- unless key dashboard_screen.idx_pid
CREATE INDEX idx_pid ON "dashboard_screen" (pid);
