-- A key of alarm_disable.
-- unless key alarm_disable.idx_disable_host
CREATE INDEX idx_disable_host ON "alarm_disable" (host_id);
