-- The key of stock's table grp_tpl.
-- unless key grp_tpl.idx_grp_tpl_grp_id
CREATE INDEX idx_grp_tpl_grp_id ON "grp_tpl" (grp_id);
