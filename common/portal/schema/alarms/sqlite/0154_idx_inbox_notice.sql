-- A key of alarm_inbox.
-- unless key alarm_inbox.idx_inbox_notice
CREATE INDEX idx_inbox_notice ON "alarm_inbox" (notice_id);
