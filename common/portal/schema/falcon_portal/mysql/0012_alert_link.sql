-- Texts behind the short links in alarm messages.
-- unless table alert_link
CREATE TABLE `alert_link` (
  `id`        int(10) unsigned NOT NULL AUTO_INCREMENT,
  `path`      varchar(16)      NOT NULL DEFAULT '',
  `content`   mediumtext       NOT NULL,
  `create_at` timestamp        NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY alert_path (path)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
