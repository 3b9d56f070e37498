-- Which host is in which group. Stock has no primary key here.
-- unless table grp_host
CREATE TABLE `grp_host` (
  `grp_id`  int(10) unsigned NOT NULL,
  `host_id` int(10) unsigned NOT NULL,
  KEY idx_grp_host_grp_id (grp_id),
  KEY idx_grp_host_host_id (host_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
