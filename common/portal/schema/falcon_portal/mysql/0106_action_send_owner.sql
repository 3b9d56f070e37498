-- Whether the owners of the host are told, too.
-- unless column action.send_owner
ALTER TABLE `action` ADD COLUMN `send_owner` tinyint(4) NOT NULL DEFAULT '0';
