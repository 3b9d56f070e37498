-- The bell of a person.
-- unless table alarm_inbox
CREATE TABLE `alarm_inbox` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `user_name` varchar(64) NOT NULL,
  `notice_id` bigint(20) unsigned NOT NULL,
  `created` datetime NOT NULL,
  `read_at` datetime NULL,
  PRIMARY KEY (id),
  UNIQUE KEY uk_inbox (user_name, notice_id),
  KEY idx_inbox_notice (notice_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
