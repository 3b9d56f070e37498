-- A key of grp_tpl_env.
-- unless key grp_tpl_env.idx_gte_tpl
CREATE INDEX idx_gte_tpl ON "grp_tpl_env" (tpl_id);
