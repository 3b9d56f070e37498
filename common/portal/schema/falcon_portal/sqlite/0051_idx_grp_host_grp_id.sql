-- The key of stock's table grp_host.
-- unless key grp_host.idx_grp_host_grp_id
CREATE INDEX idx_grp_host_grp_id ON "grp_host" (grp_id);
