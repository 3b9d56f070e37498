-- Graphs of screens. hosts and counters are lists joined by |, sorted.
-- unless table dashboard_graph
CREATE TABLE `dashboard_graph` (
  `id`          int(11) unsigned NOT NULL AUTO_INCREMENT,
  `title`       char(128)        NOT NULL,
  `hosts`       varchar(10240)   NOT NULL DEFAULT '',
  `counters`    varchar(1024)    NOT NULL DEFAULT '',
  `screen_id`   int(11) unsigned NOT NULL,
  `timespan`    int(11) unsigned NOT NULL DEFAULT '3600',
  `graph_type`  char(2)          NOT NULL DEFAULT 'h',
  `method`      char(8)          DEFAULT '',
  `position`    int(11) unsigned NOT NULL DEFAULT '0',
  `falcon_tags` varchar(512)     NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  KEY idx_sid (screen_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
