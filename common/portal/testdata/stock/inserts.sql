-- What stock's daemons, its dashboard and scripts write; a line "-- database" says where.
-- uic
INSERT INTO `user` (`name`,`passwd`,`cnname`,`email`,`phone`,`im`,`qq`,`role`) VALUES ('new','5f4dcc3b5aa765d61d8327deb882cf99','New','n@example.com','','','',0);
INSERT INTO `team` (`name`,`resume`,`creator`) VALUES ('new','',1);
INSERT INTO `rel_team_user` (`tid`,`uid`) VALUES (1,1);
INSERT INTO `session` (`uid`,`sig`,`expired`) VALUES (2,'0123456789abcdef0123456789abcdef',4000000000);
-- falcon_portal
INSERT INTO `host` (`hostname`,`ip`,`agent_version`,`plugin_version`) VALUES ('new','10.0.0.9','5.1.2','x') ON DUPLICATE KEY UPDATE `ip`='10.0.0.9',`agent_version`='5.1.2',`plugin_version`='x';
INSERT INTO `host` (`hostname`,`ip`,`agent_version`,`plugin_version`) VALUES ('it-h1','10.0.0.8','5.1.3','y') ON DUPLICATE KEY UPDATE `ip`='10.0.0.8',`agent_version`='5.1.3',`plugin_version`='y';
INSERT INTO `grp` (`grp_name`,`create_user`,`come_from`) VALUES ('new','root',1);
INSERT INTO `grp_host` (`grp_id`,`host_id`) VALUES (2,1);
INSERT INTO `tpl` (`tpl_name`,`parent_id`,`action_id`,`create_user`) VALUES ('new',0,0,'root');
INSERT INTO `grp_tpl` (`grp_id`,`tpl_id`,`bind_user`) VALUES (2,1,'root');
INSERT INTO `action` (`uic`,`url`,`callback`,`before_callback_sms`,`before_callback_mail`,`after_callback_sms`,`after_callback_mail`) VALUES ('运维','',0,0,0,0,0);
INSERT INTO `strategy` (`metric`,`tags`,`max_step`,`priority`,`func`,`op`,`right_value`,`note`,`run_begin`,`run_end`,`tpl_id`) VALUES ('load.1min','',3,2,'avg(#3)','>','8','','','',1);
INSERT INTO `expression` (`expression`,`func`,`op`,`right_value`,`max_step`,`priority`,`note`,`action_id`,`create_user`,`pause`) VALUES ('each(metric=a b=c)','all(#1)','=','0',3,0,'',1,'root',0);
INSERT INTO `plugin_dir` (`grp_id`,`dir`,`create_user`) VALUES (2,'sys','root');
INSERT INTO `cluster` (`grp_id`,`numerator`,`denominator`,`endpoint`,`metric`,`tags`,`ds_type`,`step`,`creator`) VALUES (2,'$(a)','1','e','m','','GAUGE',60,'root');
INSERT INTO `mockcfg` (`name`,`obj`,`obj_type`,`metric`,`tags`,`dstype`,`step`,`mock`,`creator`,`t_create`) VALUES ('new','it-all','group','m','','GAUGE',60,0,'root',NOW());
INSERT INTO `alert_link` (`path`,`content`) VALUES ('abcdefghi','x');
-- graph
INSERT INTO `endpoint` (`endpoint`,`ts`,`t_create`) VALUES ('new',1577934300,NOW()) ON DUPLICATE KEY UPDATE `ts`=1577934300;
INSERT INTO `endpoint` (`endpoint`,`ts`,`t_create`) VALUES ('it-h1',1577934300,NOW()) ON DUPLICATE KEY UPDATE `ts`=1577934300;
INSERT INTO `tag_endpoint` (`tag`,`endpoint_id`,`ts`,`t_create`) VALUES ('k=w',151,1577934300,NOW()) ON DUPLICATE KEY UPDATE `ts`=1577934300;
INSERT INTO `endpoint_counter` (`endpoint_id`,`counter`,`step`,`type`,`ts`,`t_create`) VALUES (151,'it.qg',60,'GAUGE',1577934300,NOW()) ON DUPLICATE KEY UPDATE `ts`=1577934300,`step`=60,`type`='GAUGE';
-- dashboard
INSERT INTO `dashboard_screen` (`pid`,`name`) VALUES (1,'new');
INSERT INTO `dashboard_graph` (`title`,`hosts`,`counters`,`screen_id`,`timespan`,`graph_type`,`method`,`position`,`falcon_tags`) VALUES ('t','a','b',2,3600,'a','',0,'');
INSERT INTO `tmp_graph` (`endpoints`,`counters`,`ck`) VALUES ('a','b','0cc175b9c0f1b6a831c399e269772661') ON DUPLICATE KEY UPDATE `time_`=CURRENT_TIMESTAMP;
-- alarms
INSERT INTO `event_cases` (`id`,`endpoint`,`metric`,`func`,`cond`,`note`,`max_step`,`current_step`,`priority`,`status`,`timestamp`,`update_at`,`tpl_creator`,`expression_id`,`strategy_id`,`template_id`) VALUES ('e_1_new','it-h1','qps','all(#3)','2000 > 1000','',3,1,2,'PROBLEM','2020-01-02 04:00:00','2020-01-02 04:00:00','',1,0,0);
INSERT INTO `events` (`event_caseId`,`step`,`cond`,`status`,`timestamp`) VALUES ('e_1_new',1,'2000 > 1000',0,'2020-01-02 04:00:00');
INSERT INTO `event_note` (`event_caseId`,`note`,`case_id`,`status`,`timestamp`,`user_id`) VALUES ('e_1_new','n','','comment','2020-01-02 04:01:00',1);
