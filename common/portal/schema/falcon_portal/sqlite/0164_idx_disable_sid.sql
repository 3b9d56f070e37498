-- A key of alarm_disable.
-- unless key alarm_disable.idx_disable_sid
CREATE INDEX idx_disable_sid ON "alarm_disable" (strategy_id);
