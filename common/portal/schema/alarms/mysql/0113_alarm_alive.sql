-- Since when something last came the whole way to alarm, in Unix seconds.
-- unless table alarm_alive
CREATE TABLE `alarm_alive` (
  `name` varchar(64) NOT NULL,
  `at` bigint(20) NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
