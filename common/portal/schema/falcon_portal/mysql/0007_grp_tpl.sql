-- Which template is bound to which group. Stock has no primary key here.
-- unless table grp_tpl
CREATE TABLE `grp_tpl` (
  `grp_id`    int(10) unsigned NOT NULL,
  `tpl_id`    int(10) unsigned NOT NULL,
  `bind_user` varchar(64)      NOT NULL DEFAULT '',
  KEY idx_grp_tpl_grp_id (grp_id),
  KEY idx_grp_tpl_tpl_id (tpl_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
