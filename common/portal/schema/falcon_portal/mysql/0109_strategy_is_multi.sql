-- Whether a strategy is a member of a combination.
-- unless column strategy.is_multi
ALTER TABLE `strategy` ADD COLUMN `is_multi` tinyint(4) NOT NULL DEFAULT '0';
