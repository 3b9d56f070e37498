-- Finds the members of a combination.
-- unless key strategy.idx_strategy_union_id
CREATE INDEX idx_strategy_union_id ON "strategy" (union_strategy_id);
