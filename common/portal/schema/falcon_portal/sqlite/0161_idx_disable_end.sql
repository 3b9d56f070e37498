-- A key of alarm_disable.
-- unless key alarm_disable.idx_disable_end
CREATE INDEX idx_disable_end ON "alarm_disable" (end_ts);
