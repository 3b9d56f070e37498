-- The key of stock's table dashboard_graph.
-- unless key dashboard_graph.idx_sid
CREATE INDEX idx_sid ON "dashboard_graph" (screen_id);
