-- Which template is bound to which group. Stock has no primary key here.
-- unless table grp_tpl
CREATE TABLE "grp_tpl" (
  grp_id    INTEGER NOT NULL,
  tpl_id    INTEGER NOT NULL,
  bind_user VARCHAR(64) COLLATE NOCASE NOT NULL DEFAULT ''
);
