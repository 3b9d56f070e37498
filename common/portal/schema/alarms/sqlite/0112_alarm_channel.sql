-- A way to tell people.
-- unless table alarm_channel
CREATE TABLE "alarm_channel" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "name" VARCHAR(64) COLLATE NOCASE NOT NULL,
  "type" VARCHAR(32) COLLATE NOCASE NOT NULL,
  "config" TEXT NOT NULL,
  "enabled" INTEGER NOT NULL DEFAULT '1',
  "creator" VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT '',
  "created" DATETIME NOT NULL,
  CONSTRAINT uk_channel_name UNIQUE (name)
);
