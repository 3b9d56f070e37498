-- The service of the endpoint.
-- unless column event_cases.service
ALTER TABLE `event_cases` ADD COLUMN `service` varchar(128) NOT NULL DEFAULT '';
