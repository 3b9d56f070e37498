-- The text that a string strategy compares with.
-- unless column strategy.right_string
ALTER TABLE `strategy` ADD COLUMN `right_string` varchar(255) NOT NULL DEFAULT '';
