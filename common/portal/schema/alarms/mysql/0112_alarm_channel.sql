-- A way to tell people.
-- unless table alarm_channel
CREATE TABLE `alarm_channel` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(64) NOT NULL,
  `type` varchar(32) NOT NULL,
  `config` text NOT NULL,
  `enabled` tinyint(4) NOT NULL DEFAULT '1',
  `creator` varchar(64) NOT NULL DEFAULT '',
  `created` datetime NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY uk_channel_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
