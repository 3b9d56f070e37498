-- The key of stock's table plugin_dir.
-- unless key plugin_dir.idx_plugin_dir_grp_id
CREATE INDEX idx_plugin_dir_grp_id ON "plugin_dir" (grp_id);
