-- The key of stock's table rel_team_user.
-- unless key rel_team_user.idx_rel_tid
CREATE INDEX idx_rel_tid ON "rel_team_user" (tid);
