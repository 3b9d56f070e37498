-- The teams that are told when nobody has taken a problem in hand, with commas.
-- unless column action.uic2
ALTER TABLE `action` ADD COLUMN `uic2` varchar(255) NOT NULL DEFAULT '';
