-- A key of host_env.
-- unless key host_env.idx_he_parent
CREATE INDEX idx_he_parent ON "host_env" (parent_host);
