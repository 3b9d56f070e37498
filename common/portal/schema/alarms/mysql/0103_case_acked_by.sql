-- Who took it.
-- unless column event_cases.acked_by
ALTER TABLE `event_cases` ADD COLUMN `acked_by` varchar(64) NOT NULL DEFAULT '';
