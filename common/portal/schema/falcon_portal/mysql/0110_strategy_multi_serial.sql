-- The name of the combination.
-- unless column strategy.multi_serial
ALTER TABLE `strategy` ADD COLUMN `multi_serial` varchar(64) NOT NULL DEFAULT '';
