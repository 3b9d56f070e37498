-- What the fork's table lacks.
-- unless column union_strategy.name
ALTER TABLE `union_strategy` ADD COLUMN `name` varchar(255) CHARACTER SET utf8 COLLATE utf8_unicode_ci NOT NULL DEFAULT '';
