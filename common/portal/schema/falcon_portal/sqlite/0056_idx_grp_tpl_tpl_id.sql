-- The key of stock's table grp_tpl.
-- unless key grp_tpl.idx_grp_tpl_tpl_id
CREATE INDEX idx_grp_tpl_tpl_id ON "grp_tpl" (tpl_id);
