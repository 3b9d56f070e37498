-- When it went to the next team.
-- unless column event_cases.escalated_at
ALTER TABLE `event_cases` ADD COLUMN `escalated_at` datetime NULL;
