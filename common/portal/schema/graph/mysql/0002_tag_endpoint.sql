-- Which tag, as k=v, occurs on which endpoint.
-- unless table tag_endpoint
CREATE TABLE `tag_endpoint` (
  `id`          int(10) unsigned NOT NULL AUTO_INCREMENT,
  `tag`         varchar(255)     NOT NULL DEFAULT '',
  `endpoint_id` int(10) unsigned NOT NULL,
  `ts`          int(11)          DEFAULT NULL,
  `t_create`    datetime         NOT NULL,
  `t_modify`    timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY idx_tag_endpoint_id (tag, endpoint_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci;
