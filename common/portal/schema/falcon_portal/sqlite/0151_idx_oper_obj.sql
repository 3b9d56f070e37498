-- A key of oper_log.
-- unless key oper_log.idx_oper_obj
CREATE INDEX idx_oper_obj ON "oper_log" (object, object_id);
