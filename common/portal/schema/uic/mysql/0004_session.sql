-- Logins. expired is Unix seconds.
-- unless table session
CREATE TABLE `session` (
  `id`      int(10) unsigned NOT NULL AUTO_INCREMENT,
  `uid`     int(10) unsigned NOT NULL,
  `sig`     varchar(32)      NOT NULL,
  `expired` int(10) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_session_uid (uid),
  KEY idx_session_sig (sig)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
