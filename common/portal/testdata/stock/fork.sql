-- What the fork changed in stock's databases; a line "-- database" says in which.
-- falcon_portal
ALTER TABLE `host` MODIFY `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT;
ALTER TABLE `grp_host` MODIFY `host_id` bigint(20) unsigned NOT NULL, ADD `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY;
ALTER TABLE `grp_tpl` ADD `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY;
ALTER TABLE `strategy` ADD `union_strategy_id` int(11) NOT NULL DEFAULT '0';
ALTER TABLE `action` ADD `lark_group_id` varchar(64) NOT NULL DEFAULT '';
ALTER TABLE `alert_link` MODIFY `content` text NOT NULL;
CREATE TABLE `union_strategy` (`id` int(10) unsigned NOT NULL AUTO_INCREMENT, `strategy_ids` varchar(255) NOT NULL DEFAULT '', PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `host` (`id`, `hostname`) VALUES (9000000000, 'it-far');
INSERT INTO `grp_host` (`grp_id`, `host_id`) VALUES (1, 9000000000);
-- graph
ALTER TABLE `endpoint` MODIFY `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT;
ALTER TABLE `tag_endpoint` MODIFY `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT, MODIFY `endpoint_id` bigint(20) unsigned NOT NULL;
ALTER TABLE `endpoint_counter` MODIFY `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT, MODIFY `endpoint_id` bigint(20) unsigned NOT NULL;
INSERT INTO `endpoint` VALUES (5000000000,'it-far',1577934240,'2020-01-02 03:04:05','2020-01-02 03:04:05');
-- dashboard
ALTER TABLE `dashboard_screen` DROP KEY `idx_pid_n`;
INSERT INTO `dashboard_screen` VALUES (3,1,'pay','2020-01-02 03:04:05');
-- alarms
ALTER TABLE `events` MODIFY `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT;
