-- A key of alarm_notice.
-- unless key alarm_notice.idx_notice_ts
CREATE INDEX idx_notice_ts ON "alarm_notice" (event_ts);
