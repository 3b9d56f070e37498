-- What was done once and is never done again, such as filling an empty portal.
-- unless table portal_mark
CREATE TABLE "portal_mark" (
  name VARCHAR(64) COLLATE NOCASE PRIMARY KEY NOT NULL,
  at   DATETIME NOT NULL
);
