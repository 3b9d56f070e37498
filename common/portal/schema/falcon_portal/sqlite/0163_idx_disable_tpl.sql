-- A key of alarm_disable.
-- unless key alarm_disable.idx_disable_tpl
CREATE INDEX idx_disable_tpl ON "alarm_disable" (tpl_id);
