-- A key of alarm_notice.
-- unless key alarm_notice.idx_notice_recv
CREATE INDEX idx_notice_recv ON "alarm_notice" (receiver, event_ts);
