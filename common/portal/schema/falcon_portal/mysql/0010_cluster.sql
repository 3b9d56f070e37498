-- Metrics that are computed over the hosts of a group.
-- unless table cluster
CREATE TABLE `cluster` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `grp_id`      int(11)          NOT NULL,
  `numerator`   varchar(10240)   NOT NULL,
  `denominator` varchar(10240)   NOT NULL,
  `endpoint`    varchar(255)     NOT NULL,
  `metric`      varchar(255)     NOT NULL,
  `tags`        varchar(255)     NOT NULL,
  `ds_type`     varchar(255)     NOT NULL,
  `step`        int(11)          NOT NULL,
  `last_update` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `creator`     varchar(255)     NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
