-- What the fork's table lacks.
-- unless column union_strategy.create_user
ALTER TABLE `union_strategy` ADD COLUMN `create_user` varchar(64) CHARACTER SET utf8 COLLATE utf8_unicode_ci NOT NULL DEFAULT '';
