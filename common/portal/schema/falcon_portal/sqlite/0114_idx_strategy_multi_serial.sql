-- Finds the members of a combination.
-- unless key strategy.idx_strategy_multi_serial
CREATE INDEX idx_strategy_multi_serial ON "strategy" (multi_serial);
