-- The bell of a person.
-- unless table alarm_inbox
CREATE TABLE "alarm_inbox" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "user_name" VARCHAR(64) COLLATE NOCASE NOT NULL,
  "notice_id" INTEGER NOT NULL,
  "created" DATETIME NOT NULL,
  "read_at" DATETIME NULL,
  CONSTRAINT uk_inbox UNIQUE (user_name, notice_id)
);
