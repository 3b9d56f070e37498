-- The key of stock's table rel_team_user.
-- unless key rel_team_user.idx_rel_uid
CREATE INDEX idx_rel_uid ON "rel_team_user" (uid);
