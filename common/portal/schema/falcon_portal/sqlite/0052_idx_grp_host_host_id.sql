-- The key of stock's table grp_host.
-- unless key grp_host.idx_grp_host_host_id
CREATE INDEX idx_grp_host_host_id ON "grp_host" (host_id);
