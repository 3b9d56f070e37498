-- The fork's combination that a strategy is a member of.
-- unless column strategy.union_strategy_id
ALTER TABLE `strategy` ADD COLUMN `union_strategy_id` int(11) NOT NULL DEFAULT '0';
