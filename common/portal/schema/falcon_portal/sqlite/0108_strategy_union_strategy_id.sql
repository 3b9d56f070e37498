-- The fork's combination that a strategy is a member of.
-- unless column strategy.union_strategy_id
ALTER TABLE "strategy" ADD COLUMN union_strategy_id INTEGER NOT NULL DEFAULT 0;
