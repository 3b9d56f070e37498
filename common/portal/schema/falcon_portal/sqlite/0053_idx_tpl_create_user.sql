-- The key of stock's table tpl.
-- unless key tpl.idx_tpl_create_user
CREATE INDEX idx_tpl_create_user ON "tpl" (create_user);
