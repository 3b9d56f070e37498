-- How many members the combination has.
-- unless column strategy.multi_count
ALTER TABLE `strategy` ADD COLUMN `multi_count` int(11) NOT NULL DEFAULT '0';
