-- Who is in which team.
-- unless table rel_team_user
CREATE TABLE `rel_team_user` (
  `id`  int(10) unsigned NOT NULL AUTO_INCREMENT,
  `tid` int(10) unsigned NOT NULL,
  `uid` int(10) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_rel_tid (tid),
  KEY idx_rel_uid (uid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
