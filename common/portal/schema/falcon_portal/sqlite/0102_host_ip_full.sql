-- The whole address of a host: stock's column ip has room for IPv4 only.
-- unless column host.ip_full
ALTER TABLE "host" ADD COLUMN "ip_full" VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '';
