-- The key of stock's table strategy.
-- unless key strategy.idx_strategy_tpl_id
CREATE INDEX idx_strategy_tpl_id ON "strategy" (tpl_id);
