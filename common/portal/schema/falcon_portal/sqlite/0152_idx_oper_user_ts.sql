-- A key of oper_log.
-- unless key oper_log.idx_oper_user_ts
CREATE INDEX idx_oper_user_ts ON "oper_log" (user_name, ts);
