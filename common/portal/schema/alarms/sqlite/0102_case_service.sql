-- The service of the endpoint.
-- unless column event_cases.service
ALTER TABLE "event_cases" ADD COLUMN "service" VARCHAR(128) COLLATE NOCASE NOT NULL DEFAULT '';
