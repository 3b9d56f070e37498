-- Teams of people, the receivers of alarms.
-- unless table team
CREATE TABLE `team` (
  `id`      int(10) unsigned NOT NULL AUTO_INCREMENT,
  `name`    varchar(64)      NOT NULL,
  `resume`  varchar(255)     NOT NULL DEFAULT '',
  `creator` int(10) unsigned NOT NULL DEFAULT '0',
  `created` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_team_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
