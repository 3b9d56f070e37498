-- Since when something last came the whole way to alarm, in Unix seconds.
-- unless table alarm_alive
CREATE TABLE "alarm_alive" (
  "name" varchar(64) NOT NULL,
  "at" INTEGER NOT NULL,
  PRIMARY KEY (name)
);
