-- A key of event_cases.
-- unless key event_cases.idx_case_timestamp
ALTER TABLE `event_cases` ADD KEY idx_case_timestamp (timestamp);
