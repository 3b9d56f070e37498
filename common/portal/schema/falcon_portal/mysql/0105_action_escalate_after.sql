-- After how many seconds those are told.
-- unless column action.escalate_after
ALTER TABLE `action` ADD COLUMN `escalate_after` int(11) NOT NULL DEFAULT '1200';
