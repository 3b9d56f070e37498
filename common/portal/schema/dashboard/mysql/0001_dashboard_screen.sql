-- Screens of graphs, as a tree: pid is another screen, 0 for none.
-- unless table dashboard_screen
CREATE TABLE `dashboard_screen` (
  `id`   int(11) unsigned NOT NULL AUTO_INCREMENT,
  `pid`  int(11) unsigned NOT NULL DEFAULT '0',
  `name` char(128)        NOT NULL,
  `time` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  KEY idx_pid (pid),
  UNIQUE KEY idx_pid_n (pid, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
