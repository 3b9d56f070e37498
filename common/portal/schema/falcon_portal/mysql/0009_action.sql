-- Whom a rule tells, and how.
-- unless table action
CREATE TABLE `action` (
  `id`                   int(10) unsigned NOT NULL AUTO_INCREMENT,
  `uic`                  varchar(255)     NOT NULL DEFAULT '',
  `url`                  varchar(255)     NOT NULL DEFAULT '',
  `callback`             tinyint(4)       NOT NULL DEFAULT '0',
  `before_callback_sms`  tinyint(4)       NOT NULL DEFAULT '0',
  `before_callback_mail` tinyint(4)       NOT NULL DEFAULT '0',
  `after_callback_sms`   tinyint(4)       NOT NULL DEFAULT '0',
  `after_callback_mail`  tinyint(4)       NOT NULL DEFAULT '0',
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
