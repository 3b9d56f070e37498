-- Logins. expired is Unix seconds.
-- unless table session
CREATE TABLE "session" (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  uid     INTEGER NOT NULL,
  sig     VARCHAR(32) COLLATE NOCASE NOT NULL,
  expired INTEGER NOT NULL
);
