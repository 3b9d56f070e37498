-- What was done once and is never done again, such as filling an empty portal.
-- unless table portal_mark
CREATE TABLE `portal_mark` (
  `name` varchar(64) NOT NULL,
  `at`   datetime    NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci;
