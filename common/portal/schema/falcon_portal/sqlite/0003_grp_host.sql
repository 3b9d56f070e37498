-- Which host is in which group. Stock has no primary key here.
-- unless table grp_host
CREATE TABLE "grp_host" (
  grp_id  INTEGER NOT NULL,
  host_id INTEGER NOT NULL
);
