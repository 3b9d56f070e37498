-- Texts behind the short links in alarm messages.
-- unless table alert_link
CREATE TABLE "alert_link" (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  path      VARCHAR(16) COLLATE NOCASE NOT NULL DEFAULT '',
  content   MEDIUMTEXT COLLATE NOCASE NOT NULL,
  create_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT alert_path UNIQUE (path)
);
