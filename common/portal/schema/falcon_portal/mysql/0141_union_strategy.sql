-- Combinations of strategies: all of a host's conditions make one alarm. The fork has the
-- table, with the first two columns.
-- unless table union_strategy
CREATE TABLE `union_strategy` (
  `id`           int(10) unsigned NOT NULL AUTO_INCREMENT,
  `strategy_ids` varchar(1024)    NOT NULL DEFAULT '',
  `name`         varchar(255)     NOT NULL DEFAULT '',
  `create_user`  varchar(64)      NOT NULL DEFAULT '',
  `create_at`    timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
