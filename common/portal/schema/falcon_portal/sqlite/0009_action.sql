-- Whom a rule tells, and how.
-- unless table action
CREATE TABLE "action" (
  id                   INTEGER PRIMARY KEY AUTOINCREMENT,
  uic                  VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  url                  VARCHAR(255) COLLATE NOCASE NOT NULL DEFAULT '',
  callback             INTEGER NOT NULL DEFAULT 0,
  before_callback_sms  INTEGER NOT NULL DEFAULT 0,
  before_callback_mail INTEGER NOT NULL DEFAULT 0,
  after_callback_sms   INTEGER NOT NULL DEFAULT 0,
  after_callback_mail  INTEGER NOT NULL DEFAULT 0
);
