package portal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"
)

// mysqlTables is the schema as contract query 6 and alerting 7 list it, in the
// words of information_schema: name, type, nullable, default, extra, collation.
const mysqlTables = `
uic.user: id int(10) unsigned NO - auto_increment; name varchar(64) NO -; passwd varchar(64) NO ''; cnname varchar(128) NO ''; email varchar(255) NO ''; phone varchar(16) NO ''; im varchar(32) NO ''; qq varchar(16) NO ''; role tinyint(4) NO 0; creator int(10) unsigned NO 0; created timestamp NO current_timestamp()
uic.user keys: PRIMARY u id; idx_user_name u name
uic.team: id int(10) unsigned NO - auto_increment; name varchar(64) NO -; resume varchar(255) NO ''; creator int(10) unsigned NO 0; created timestamp NO current_timestamp()
uic.team keys: PRIMARY u id; idx_team_name u name
uic.rel_team_user: id int(10) unsigned NO - auto_increment; tid int(10) unsigned NO -; uid int(10) unsigned NO -
uic.rel_team_user keys: PRIMARY u id; idx_rel_tid tid; idx_rel_uid uid
uic.session: id int(10) unsigned NO - auto_increment; uid int(10) unsigned NO -; sig varchar(32) NO -; expired int(10) unsigned NO -
uic.session keys: PRIMARY u id; idx_session_sig sig; idx_session_uid uid
falcon_portal.host: id int(10) unsigned NO - auto_increment; hostname varchar(255) NO ''; ip varchar(16) NO ''; agent_version varchar(16) NO ''; plugin_version varchar(128) NO ''; maintain_begin int(10) unsigned NO 0; maintain_end int(10) unsigned NO 0; update_at timestamp NO current_timestamp() on update current_timestamp(); ip_full varchar(64) NO ''
falcon_portal.host keys: PRIMARY u id; idx_host_hostname u hostname
falcon_portal.grp: id int(10) unsigned NO - auto_increment; grp_name varchar(255) NO ''; create_user varchar(64) NO ''; create_at timestamp NO current_timestamp(); come_from tinyint(4) NO 0
falcon_portal.grp keys: PRIMARY u id; idx_host_grp_grp_name u grp_name
falcon_portal.grp_host: grp_id int(10) unsigned NO -; host_id int(10) unsigned NO -
falcon_portal.grp_host keys: idx_grp_host_grp_id grp_id; idx_grp_host_host_id host_id
falcon_portal.tpl: id int(10) unsigned NO - auto_increment; tpl_name varchar(255) NO ''; parent_id int(10) unsigned NO 0; action_id int(10) unsigned NO 0; create_user varchar(64) NO ''; create_at timestamp NO current_timestamp()
falcon_portal.tpl keys: PRIMARY u id; idx_tpl_create_user create_user; idx_tpl_name u tpl_name
falcon_portal.strategy: id int(10) unsigned NO - auto_increment; metric varchar(128) NO ''; tags varchar(256) NO ''; max_step int(11) NO 1; priority tinyint(4) NO 0; func varchar(16) NO 'all(#1)'; op varchar(8) NO ''; right_value varchar(64) NO -; note varchar(128) NO ''; run_begin varchar(16) NO ''; run_end varchar(16) NO ''; tpl_id int(10) unsigned NO 0; union_strategy_id int(11) NO 0; is_multi tinyint(4) NO 0; multi_serial varchar(64) NO ''; multi_count int(11) NO 0; value_type varchar(8) NO ''; right_string varchar(255) NO ''
falcon_portal.strategy keys: PRIMARY u id; idx_strategy_multi_serial multi_serial; idx_strategy_tpl_id tpl_id; idx_strategy_union_id union_strategy_id
falcon_portal.expression: id int(10) unsigned NO - auto_increment; expression varchar(1024) NO -; func varchar(16) NO 'all(#1)'; op varchar(8) NO ''; right_value varchar(16) NO ''; max_step int(11) NO 1; priority tinyint(4) NO 0; note varchar(1024) NO ''; action_id int(10) unsigned NO 0; create_user varchar(64) NO ''; pause tinyint(1) NO 0
falcon_portal.expression keys: PRIMARY u id
falcon_portal.grp_tpl: grp_id int(10) unsigned NO -; tpl_id int(10) unsigned NO -; bind_user varchar(64) NO ''
falcon_portal.grp_tpl keys: idx_grp_tpl_grp_id grp_id; idx_grp_tpl_tpl_id tpl_id
falcon_portal.plugin_dir: id int(10) unsigned NO - auto_increment; grp_id int(10) unsigned NO -; dir varchar(255) NO -; create_user varchar(64) NO ''; create_at timestamp NO current_timestamp()
falcon_portal.plugin_dir keys: PRIMARY u id; idx_plugin_dir_grp_id grp_id
falcon_portal.action: id int(10) unsigned NO - auto_increment; uic varchar(255) NO ''; url varchar(255) NO ''; callback tinyint(4) NO 0; before_callback_sms tinyint(4) NO 0; before_callback_mail tinyint(4) NO 0; after_callback_sms tinyint(4) NO 0; after_callback_mail tinyint(4) NO 0; channels varchar(255) NO ''; uic2 varchar(255) NO ''; escalate_after int(11) NO 1200; send_owner tinyint(4) NO 0; lark_group_id varchar(255) NO ''
falcon_portal.action keys: PRIMARY u id
falcon_portal.cluster: id int(10) unsigned NO - auto_increment; grp_id int(11) NO -; numerator varchar(10240) NO -; denominator varchar(10240) NO -; endpoint varchar(255) NO -; metric varchar(255) NO -; tags varchar(255) NO -; ds_type varchar(255) NO -; step int(11) NO -; last_update timestamp NO current_timestamp() on update current_timestamp(); creator varchar(255) NO -
falcon_portal.cluster keys: PRIMARY u id
falcon_portal.mockcfg: id bigint(20) unsigned NO - auto_increment; name varchar(255) NO ''; obj varchar(10240) NO ''; obj_type varchar(255) NO ''; metric varchar(128) NO ''; tags varchar(1024) NO ''; dstype varchar(32) NO 'GAUGE'; step int(11) unsigned NO 60; mock double NO 0; creator varchar(64) NO ''; t_create datetime NO -; t_modify timestamp NO current_timestamp() on update current_timestamp()
falcon_portal.mockcfg keys: PRIMARY u id; uniq_name u name
falcon_portal.alert_link: id int(10) unsigned NO - auto_increment; path varchar(16) NO ''; content mediumtext NO -; create_at timestamp NO current_timestamp()
falcon_portal.alert_link keys: PRIMARY u id; alert_path u path
falcon_portal.oper_log: id bigint(20) unsigned NO - auto_increment; ts datetime NO -; user_name varchar(64) NO -; source varchar(16) NO ''; remote_ip varchar(64) NO ''; object varchar(32) NO -; object_id varchar(64) NO ''; op varchar(16) NO -; before_json mediumtext YES NULL; after_json mediumtext YES NULL
falcon_portal.oper_log keys: PRIMARY u id; idx_oper_obj object,object_id; idx_oper_user_ts user_name,ts
falcon_portal.portal_mark: name varchar(64) NO -; at datetime NO -
falcon_portal.portal_mark keys: PRIMARY u name
falcon_portal.grp_svs: id int(10) unsigned NO - auto_increment; grp_id int(10) unsigned NO -; svs_name varchar(255) NO ''; create_at timestamp NO current_timestamp()
falcon_portal.grp_svs keys: PRIMARY u id; uk_grp_svs u grp_id,svs_name
falcon_portal.host_agent: hostname varchar(255) NO -; machine_id varchar(64) NO ''; boot_id varchar(64) NO ''; config_md5 varchar(32) NO ''; upgrade_error varchar(1024) NO ''; also_claimed varchar(255) NO ''
falcon_portal.host_agent keys: PRIMARY u hostname
falcon_portal.alarm_disable: id int(10) unsigned NO - auto_increment; type tinyint(4) NO -; host_id int(10) unsigned NO 0; tpl_id int(10) unsigned NO 0; strategy_id int(10) unsigned NO 0; grp_id int(10) unsigned NO 0; begin_ts int(10) unsigned NO -; end_ts int(10) unsigned NO -; duration varchar(4) NO -; reason varchar(255) NO ''; operator varchar(64) NO ''; create_at timestamp NO current_timestamp(); cancel_ts int(10) unsigned NO 0; cancel_user varchar(64) NO ''
falcon_portal.alarm_disable keys: PRIMARY u id; idx_disable_end end_ts; idx_disable_host host_id; idx_disable_sid strategy_id; idx_disable_tpl tpl_id
falcon_portal.host_env: hostname varchar(255) NO -; env varchar(16) NO ''; parent_host varchar(255) NO ''; service varchar(128) NO ''; bg varchar(64) NO ''; update_at datetime YES NULL
falcon_portal.host_env keys: PRIMARY u hostname; idx_he_parent parent_host
falcon_portal.grp_tpl_env: id int(10) unsigned NO - auto_increment; grp_id int(10) unsigned NO -; tpl_id int(10) unsigned NO -; env varchar(16) NO -; bind_user varchar(64) NO ''; create_at timestamp NO current_timestamp()
falcon_portal.grp_tpl_env keys: PRIMARY u id; idx_gte_tpl tpl_id; uk_grp_tpl_env u grp_id,tpl_id,env
falcon_portal.union_strategy: id int(10) unsigned NO - auto_increment; strategy_ids varchar(1024) NO ''; name varchar(255) NO ''; create_user varchar(64) NO ''; create_at timestamp NO current_timestamp()
falcon_portal.union_strategy keys: PRIMARY u id
graph.endpoint: id int(10) unsigned NO - auto_increment; endpoint varchar(255) NO ''; ts int(11) YES NULL; t_create datetime NO -; t_modify timestamp NO current_timestamp() on update current_timestamp()
graph.endpoint keys: PRIMARY u id; idx_endpoint u endpoint
graph.tag_endpoint: id int(10) unsigned NO - auto_increment; tag varchar(255) NO ''; endpoint_id int(10) unsigned NO -; ts int(11) YES NULL; t_create datetime NO -; t_modify timestamp NO current_timestamp() on update current_timestamp()
graph.tag_endpoint keys: PRIMARY u id; idx_tag_endpoint_id u tag,endpoint_id
graph.endpoint_counter: id int(10) unsigned NO - auto_increment; endpoint_id int(10) unsigned NO -; counter varchar(255) NO ''; step int(11) NO 60; type varchar(16) NO -; ts int(11) YES NULL; t_create datetime NO -; t_modify timestamp NO current_timestamp() on update current_timestamp()
graph.endpoint_counter keys: PRIMARY u id; idx_endpoint_id_counter u endpoint_id,counter
alarms.event_cases: id varchar(50) NO -; endpoint varchar(100) NO -; metric varchar(200) NO -; func varchar(50) YES NULL; cond varchar(200) NO -; note varchar(500) YES NULL; max_step int(10) unsigned YES NULL; current_step int(10) unsigned YES NULL; priority int(6) NO -; status varchar(20) NO -; timestamp timestamp NO current_timestamp(); update_at timestamp YES NULL; closed_at timestamp YES NULL; closed_note varchar(250) YES NULL; user_modified int(10) unsigned YES NULL; tpl_creator varchar(64) YES NULL; expression_id int(10) unsigned YES NULL; strategy_id int(10) unsigned YES NULL; template_id int(10) unsigned YES NULL; process_note mediumint(9) YES NULL; process_status varchar(20) YES 'unresolved'; counter_full text YES NULL; service varchar(128) NO ''; acked_by varchar(64) NO ''; acked_at datetime YES NULL; escalated_at datetime YES NULL
alarms.event_cases keys: PRIMARY u id; idx_case_rule endpoint,strategy_id,template_id; idx_case_status_update status,update_at; idx_case_timestamp timestamp
alarms.events: id int(10) NO - auto_increment; event_caseId varchar(50) YES NULL; step int(10) unsigned YES NULL; cond varchar(200) NO -; status int(3) unsigned YES 0; timestamp timestamp YES NULL
alarms.events keys: PRIMARY u id; idx_events_case event_caseId; idx_events_timestamp timestamp
alarms.event_note: id mediumint(9) NO - auto_increment; event_caseId varchar(50) YES NULL; note varchar(300) YES NULL; case_id varchar(20) YES NULL; status varchar(15) YES NULL; timestamp timestamp YES NULL; user_id int(10) unsigned YES NULL
alarms.event_note keys: PRIMARY u id; idx_note_case event_caseId; idx_note_user user_id
alarms.event_case_team: event_caseId varchar(50) NO -; team varchar(64) NO -
alarms.event_case_team keys: PRIMARY u event_caseId,team; idx_ect_team team
alarms.alarm_notice: id bigint(20) unsigned NO - auto_increment; event_caseId varchar(50) NO -; event_ts datetime NO -; send_ts datetime NO -; endpoint varchar(255) NO -; metric varchar(255) NO -; service varchar(128) NO ''; bg varchar(64) NO ''; priority tinyint(4) NO -; status varchar(8) NO -; step int(11) NO -; action_id int(10) unsigned NO 0; receiver varchar(64) NO -; channel varchar(64) NO -; result varchar(16) NO -; attempts int(11) NO 0; answer varchar(500) NO ''
alarms.alarm_notice keys: PRIMARY u id; idx_notice_recv receiver,event_ts; idx_notice_ts event_ts; uk_notice u event_caseId,event_ts,status,step,action_id,receiver,channel
alarms.alarm_inbox: id bigint(20) unsigned NO - auto_increment; user_name varchar(64) NO -; notice_id bigint(20) unsigned NO -; created datetime NO -; read_at datetime YES NULL
alarms.alarm_inbox keys: PRIMARY u id; idx_inbox_notice notice_id; uk_inbox u user_name,notice_id
alarms.alarm_alive: name varchar(64) NO -; at bigint(20) NO -
alarms.alarm_alive keys: PRIMARY u name
alarms.alarm_channel: id int(10) unsigned NO - auto_increment; name varchar(64) NO -; type varchar(32) NO -; config text NO -; enabled tinyint(4) NO 1; creator varchar(64) NO ''; created datetime NO -
alarms.alarm_channel keys: PRIMARY u id; uk_channel_name u name
dashboard.dashboard_screen: id int(11) unsigned NO - auto_increment; pid int(11) unsigned NO 0; name char(128) NO -; time timestamp NO current_timestamp() on update current_timestamp()
dashboard.dashboard_screen keys: PRIMARY u id; idx_pid pid; idx_pid_n u pid,name
dashboard.dashboard_graph: id int(11) unsigned NO - auto_increment; title char(128) NO -; hosts varchar(10240) NO ''; counters varchar(1024) NO ''; screen_id int(11) unsigned NO -; timespan int(11) unsigned NO 3600; graph_type char(2) NO 'h'; method char(8) YES ''; position int(11) unsigned NO 0; falcon_tags varchar(512) NO ''
dashboard.dashboard_graph keys: PRIMARY u id; idx_sid screen_id
dashboard.tmp_graph: id int(11) unsigned NO - auto_increment; endpoints varchar(10240) NO ''; counters varchar(10240) NO ''; ck varchar(32) NO -; time_ timestamp NO current_timestamp()
dashboard.tmp_graph keys: PRIMARY u id; idx_ck u ck
`

func TestSchemaIsStocks(t *testing.T) {
	db := openTest(t, testMySQL(t))
	version := ""
	if err := db.UIC.read.Get(&version, "SELECT VERSION()"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(version, "MariaDB") {
		t.Skipf("the expected words are MariaDB's, the server is MySQL %s", version)
	}
	handles := map[string]*Handle{Graph: db.Graph, UIC: db.UIC, Portal: db.Portal, Alarms: db.Alarms, Dashboard: db.Dashboard}
	collations := map[string]string{Graph: "utf8mb3_general_ci", UIC: "utf8mb3_general_ci", Portal: "utf8mb3_unicode_ci", Alarms: "utf8mb3_general_ci", Dashboard: "utf8mb3_general_ci"}
	tables := map[string]int{}
	for line := range strings.Lines(strings.TrimSpace(mysqlTables)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
		keys := strings.HasSuffix(name, " keys")
		database, table, _ := strings.Cut(strings.TrimSuffix(name, " keys"), ".")
		h := handles[database]
		query := `SELECT CONCAT_WS(' ', column_name, column_type, is_nullable, COALESCE(column_default, '-'), NULLIF(extra, ''))
			FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position`
		if keys {
			query = `SELECT CONCAT_WS(' ', index_name, IF(non_unique, NULL, 'u'), GROUP_CONCAT(column_name ORDER BY seq_in_index))
				FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? GROUP BY index_name, non_unique ORDER BY index_name <> 'PRIMARY', index_name`
		} else {
			tables[database]++
		}
		var rows []string
		if err := h.read.Select(&rows, query, table); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rows, "; "); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
		var engine string
		if err := h.read.Get(&engine, "SELECT CONCAT(engine, ' ', table_collation) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", table); err != nil {
			t.Fatal(err)
		}
		if want := "InnoDB " + collations[database]; engine != want {
			t.Errorf("%s is %s, want %s", name, engine, want)
		}
	}
	for database, n := range tables {
		if got := count(t, handles[database], "information_schema.tables WHERE table_schema = DATABASE()"); got != n+1 {
			t.Errorf("%s has %d tables, want %d and goose's", database, got, n)
		}
	}
}

// Both dialects have the same tables, with the same columns and keys.
func TestSQLiteSchemaIsTheSame(t *testing.T) {
	for _, database := range []string{UIC, Portal, Graph, Alarms, Dashboard} {
		my, lite := definitions(t, database, "mysql"), definitions(t, database, "sqlite")
		for name, m := range my {
			if s := lite[name]; s != m {
				t.Errorf("%s.%s\nmysql  %s\nsqlite %s", database, name, m, s)
			}
		}
		if len(my) != len(lite) {
			t.Errorf("%s has %d tables on MySQL, %d on SQLite", database, len(my), len(lite))
		}
	}
}

// definitions reads "column, column; key(columns)" of every table from the files.
func definitions(t *testing.T, database, dialect string) map[string]string {
	all := map[string]string{}
	files := must[[]string](t)(fs.Glob(schema, "schema/"+database+"/"+dialect+"/*.sql"))
	keys := map[string][]string{}
	for _, name := range files {
		g := must[guarded](t)(parseGuard(string(must[[]byte](t)(fs.ReadFile(schema, name)))))
		if g.kind == "key" {
			_, columns, _ := strings.Cut(g.statement, "(")
			keys[g.table] = append(keys[g.table], g.part+"("+strings.Trim(columns, "();"))
			continue
		}
		if g.kind == "column" {
			all[g.table] += ", " + g.part
			continue
		}
		_, body, _ := strings.Cut(g.statement, "(")
		var columns []string
		for line := range strings.Lines(body) {
			words := strings.Fields(strings.TrimRight(strings.TrimSpace(line), ","))
			switch {
			case len(words) == 0 || strings.HasPrefix(words[0], ")") || words[0] == "PRIMARY" || words[0] == "FOREIGN":
			case words[0] == "UNIQUE" || words[0] == "KEY" || words[0] == "CONSTRAINT":
				rest := strings.Join(words, " ")
				rest = strings.NewReplacer("UNIQUE KEY ", "", "KEY ", "", "CONSTRAINT ", "", "UNIQUE ", "", ")", "").Replace(rest)
				rest = strings.ReplaceAll(rest, " (", "(")
				keys[g.table] = append(keys[g.table], rest)
			default:
				columns = append(columns, strings.Trim(words[0], "`\""))
			}
		}
		all[g.table] = strings.Join(columns, ", ")
	}
	for table, k := range keys {
		slices.Sort(k)
		all[table] += "; " + strings.Join(k, "; ")
	}
	return all
}

// extends says whether a table's definition still has every line of an older one, in
// order; only additions lie between them.
func extends(def, old string) bool {
	lines := strings.Split(def, "\n")
	for line := range strings.SplitSeq(old, "\n") {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSuffix(l, ",") == strings.TrimSuffix(line, ",") })
		if i < 0 {
			return false
		}
		lines = lines[i+1:]
	}
	return true
}

// stockDDL makes the databases of a stock and of a fork installation before us,
// shortened to what our statements meet.
var stockDDL = map[string]map[string][]string{
	"stock": {
		UIC: {
			"CREATE TABLE `user` (id int(10) unsigned NOT NULL AUTO_INCREMENT, name varchar(64) NOT NULL, passwd varchar(64) NOT NULL DEFAULT '', cnname varchar(128) NOT NULL DEFAULT '', email varchar(255) NOT NULL DEFAULT '', phone varchar(16) NOT NULL DEFAULT '', im varchar(32) NOT NULL DEFAULT '', qq varchar(16) NOT NULL DEFAULT '', role tinyint NOT NULL DEFAULT 0, creator int(10) unsigned NOT NULL DEFAULT 0, created timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_user_name (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"CREATE TABLE `session` (id int(10) unsigned NOT NULL AUTO_INCREMENT, uid int(10) unsigned NOT NULL, sig varchar(32) NOT NULL, expired int(10) unsigned NOT NULL, PRIMARY KEY (id), KEY idx_session_uid (uid), KEY idx_session_sig (sig)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"INSERT INTO `user` (id, name, passwd, role) VALUES (1, 'root', '900150983cd24fb0d6963f7d28e17f72', 2)",
			"INSERT INTO `session` (uid, sig, expired) VALUES (1, 'd3a5652ee62a11f18571a6d12c9aa55b', 4000000000)",
		},
		Portal: {
			"CREATE TABLE grp_host (grp_id INT UNSIGNED NOT NULL, host_id INT UNSIGNED NOT NULL, KEY idx_grp_host_grp_id (grp_id), KEY idx_grp_host_host_id (host_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
			"INSERT INTO grp_host VALUES (1, 2), (1, 2)",
		},
		Graph: {
			"CREATE TABLE endpoint (id int(10) unsigned NOT NULL AUTO_INCREMENT, endpoint varchar(255) NOT NULL DEFAULT '', ts int(11) DEFAULT NULL, t_create DATETIME NOT NULL COMMENT 'create time', t_modify timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_endpoint (endpoint)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"CREATE TABLE endpoint_counter (id int(10) unsigned NOT NULL AUTO_INCREMENT, endpoint_id int(10) unsigned NOT NULL, counter varchar(255) NOT NULL DEFAULT '', step int(11) NOT NULL DEFAULT 60, type varchar(16) NOT NULL, ts int(11) DEFAULT NULL, t_create DATETIME NOT NULL, t_modify timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_endpoint_id_counter (endpoint_id, counter)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"INSERT INTO endpoint (id, endpoint, ts, t_create) VALUES (151, 'it-h1', 1795320660, NOW()), (152, 'silent', NULL, NOW())",
			"INSERT INTO endpoint_counter (endpoint_id, counter, step, type, ts, t_create) VALUES (151, 'it.qc/k=v', 60, 'COUNTER', 1795320660, NOW())",
		},
	},
	"fork": {
		UIC: {},
		Portal: {
			"CREATE TABLE host (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, hostname varchar(255) NOT NULL DEFAULT '', ip varchar(16) NOT NULL DEFAULT '', agent_version varchar(16) NOT NULL DEFAULT '', plugin_version varchar(128) NOT NULL DEFAULT '', maintain_begin int unsigned NOT NULL DEFAULT 0, maintain_end int unsigned NOT NULL DEFAULT 0, update_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_host_hostname (hostname)) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
			"CREATE TABLE grp_host (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, grp_id int unsigned NOT NULL, host_id bigint unsigned NOT NULL, KEY idx_grp_host_grp_id (grp_id), KEY idx_grp_host_host_id (host_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci",
			"INSERT INTO host (id, hostname) VALUES (9000000000, 'it-h1')",
			"INSERT INTO grp_host (grp_id, host_id) VALUES (1, 9000000000), (1, 9000000000)",
		},
		Graph: {
			"CREATE TABLE endpoint (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, endpoint varchar(255) NOT NULL DEFAULT '', ts int(11) DEFAULT NULL, t_create DATETIME NOT NULL, t_modify timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_endpoint (endpoint)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"CREATE TABLE endpoint_counter (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, endpoint_id bigint(20) unsigned NOT NULL, counter varchar(255) NOT NULL DEFAULT '', step int(11) NOT NULL DEFAULT 60, type varchar(16) NOT NULL, ts int(11) DEFAULT NULL, t_create DATETIME NOT NULL, t_modify timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_endpoint_id_counter (endpoint_id, counter)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"CREATE TABLE tag_endpoint (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, tag varchar(255) NOT NULL DEFAULT '', endpoint_id bigint(20) unsigned NOT NULL, ts int(11) DEFAULT NULL, t_create DATETIME NOT NULL, t_modify timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id), UNIQUE KEY idx_tag_endpoint_id (tag, endpoint_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
			"INSERT INTO endpoint (id, endpoint, ts, t_create) VALUES (5000000000, 'it-h1', 1795320660, NOW()), (5000000001, 'silent', NULL, NOW())",
			"INSERT INTO endpoint_counter (id, endpoint_id, counter, step, type, ts, t_create) VALUES (7000000000, 5000000000, 'it.qc/k=v', 60, 'COUNTER', 1795320660, NOW())",
		},
	},
}

// A database of a stock or fork installation is taken as it is: what it has stays
// word for word, what it lacks is added, and our statements work on it.
func TestMigrateTakesAnInstallationAsItIs(t *testing.T) {
	for kind, ddl := range stockDDL {
		t.Run(kind, func(t *testing.T) {
			cfg := testMySQL(t)
			db := must[*DB](t)(Open(t.Context(), cfg, nil))
			defer db.Close()
			before := map[string]string{}
			for _, h := range db.handles() {
				if err := h.create(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, statement := range ddl[h.name] {
					execSQL(t, h, statement)
				}
				for name, def := range showCreate(t, h) {
					before[h.name+"."+name] = def
				}
			}
			for range 2 {
				if err := db.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, h := range db.handles() {
				for name, def := range showCreate(t, h) {
					if old, ok := before[h.name+"."+name]; ok && !extends(def, old) {
						t.Errorf("%s.%s changed\nfrom %s\n  to %s", h.name, name, old, def)
					}
				}
			}
			if n := count(t, db.Portal, "grp_host"); n != 2 {
				t.Errorf("%d rows in grp_host, want both of before", n)
			}

			ctx := t.Context()
			write(t, db, nil,
				IndexRow{"it-h1", "it.qc/k=v", "k=v", 60, "DERIVE", 1795320720},
				IndexRow{"it-h2", "it.qg", "", 60, "GAUGE", 1795320720})
			wantIndex(t, db, "it-h1 @1795320720\n  # k=v\n  it.qc/k=v 60 DERIVE @1795320720\nit-h2 @1795320720\n  it.qg 60 GAUGE @1795320720\nsilent @0\n")
			if ids := must[map[string]int64](t)(db.EndpointIDs(ctx, []string{"it-h1"})); ids["it-h1"] != map[string]int64{"stock": 151, "fork": 5000000000}[kind] {
				t.Errorf("it-h1 has id %d", ids["it-h1"])
			}
			if kind == "stock" {
				u := must[*User](t)(db.UserByName(ctx, "root"))
				if _, err := db.SessionBySig(ctx, u.ID, "d3a5652ee62a11f18571a6d12c9aa55b", time.Unix(1_795_000_000, 0)); err != nil || u.Role != RoleRoot {
					t.Errorf("root %+v, session %v", u, err)
				}
			}
		})
	}
}

// showCreate returns the definitions of all tables, without the counters in them
// that rows move.
func showCreate(t *testing.T, h *Handle) map[string]string {
	var names []string
	if err := h.read.Select(&names, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		var same, def string
		if err := h.read.QueryRow("SHOW CREATE TABLE `"+name+"`").Scan(&same, &def); err != nil {
			t.Fatal(err)
		}
		head, rest, ok := strings.Cut(def, " AUTO_INCREMENT=")
		if ok {
			_, rest, _ = strings.Cut(rest, " ")
		}
		all[name] = head + rest
	}
	return all
}

// Daemons that start together migrate once.
func TestMigrateFromSeveralAtOnce(t *testing.T) {
	migrate := func(t *testing.T, cfg Config) {
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() {
				db, err := Open(t.Context(), cfg, nil)
				if err == nil {
					err = db.Migrate(t.Context())
					db.Close()
				}
				errs[i] = err
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) { migrate(t, Config{Dir: t.TempDir()}) })
	t.Run("mysql", func(t *testing.T) { migrate(t, testMySQL(t)) })
}

// A start that is stopped anywhere says that it was, and the next one goes on from there.
func TestStoppedWhileMigrating(t *testing.T) {
	for range 40 {
		cfg := Config{Dir: t.TempDir()}
		ctx, cancel := context.WithCancel(t.Context())
		stop := time.AfterFunc(rand.N(50*time.Millisecond), cancel) // where it is stopped is the point of the test
		db, err := Open(ctx, cfg, nil)
		if err == nil {
			err = db.Migrate(ctx)
			for err == nil {
				_, err = db.RuleRows(ctx)
			}
			err = errors.Join(err, db.Close())
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v, want that its context was cancelled", err)
		}
		stop.Stop()
		cancel()
		openTest(t, cfg)
	}
}

// A release adds migrations whose numbers are lower than the last one of the release
// before: a database that has that one gets them all the same.
func TestMigrateFromAnEarlierRelease(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		execSQL(t, db.Portal, "DELETE FROM goose_db_version WHERE version_id BETWEEN 103 AND 116")
		execSQL(t, db.Portal, "ALTER TABLE action DROP COLUMN channels")
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Portal, "goose_db_version WHERE version_id BETWEEN 103 AND 116"); n != 14 {
			t.Errorf("%d of 14 migrations were made up for", n)
		}
		execSQL(t, db.Portal, "UPDATE action SET channels = ''")
	})
}

// Each kind of guard keeps its statement from running where it is not needed.
func TestGuards(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		execSQL(t, db.UIC, "CREATE TABLE mine (a int)")
		t.Cleanup(func() {
			execSQL(t, db.UIC, "DROP TABLE IF EXISTS mine")
			execSQL(t, db.UIC, "DROP TABLE IF EXISTS other")
		})
		execSQL(t, db.UIC, "CREATE INDEX idx_a ON mine (a)")
		files := fstest.MapFS{}
		for i, text := range []string{
			"-- unless table mine\nCREATE TABLE mine (b int);",
			"-- unless column mine.a\nALTER TABLE mine ADD COLUMN a int",
			"-- unless column mine.c\nALTER TABLE mine ADD COLUMN c int NOT NULL DEFAULT 7",
			"-- unless key mine.idx_a\nCREATE INDEX idx_a ON mine (a)",
			"-- unless key mine.idx_c\nCREATE INDEX idx_c ON mine (c)",
			"-- unless table other\nCREATE TABLE other (a int)",
		} {
			files[fmt.Sprintf("%04d_x.sql", 900+i)] = &fstest.MapFile{Data: []byte(text)}
		}
		dialect := goose.DialectMySQL
		if db.UIC.SQLite() {
			dialect = goose.DialectSQLite3
		}
		for range 2 { // the second time with a version table that knows nothing
			all := must[[]*goose.Migration](t)(db.UIC.migrations(files, slog.New(slog.DiscardHandler)))
			p := must[*goose.Provider](t)(goose.NewProvider(dialect, db.UIC.write.DB, nil, goose.WithGoMigrations(all...),
				goose.WithDisableGlobalRegistry(true), goose.WithTableName("other_version"), goose.WithLogger(goose.NopLogger())))
			if _, err := p.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			execSQL(t, db.UIC, "DROP TABLE other_version")
		}
		execSQL(t, db.UIC, "INSERT INTO mine (a) VALUES (1)")
		if n := count(t, db.UIC, "mine, other WHERE mine.c = 7"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestParseGuard(t *testing.T) {
	for _, tc := range []struct{ text, err string }{
		{"-- text\n-- unless table t\nCREATE TABLE t (a int);\n", "<nil>"},
		{"CREATE TABLE t (a int);\n", `no line "-- unless table T", "-- unless column T.C" or "-- unless key T.K"`},
		{"-- unless column t\nALTER", `no line "-- unless table T", "-- unless column T.C" or "-- unless key T.K"`},
		{"-- unless table t\n", "not exactly one statement"},
		{"-- unless table t\nCREATE TABLE t (a int); DROP TABLE u;", "not exactly one statement"},
	} {
		if _, err := parseGuard(tc.text); fmt.Sprint(err) != tc.err {
			t.Errorf("parseGuard(%q)\n got %v\nwant %s", tc.text, err, tc.err)
		}
	}
}

// Nothing that is released drops or changes what is there.
func TestMigrationsOnlyAdd(t *testing.T) {
	for _, name := range must[[]string](t)(fs.Glob(schema, "schema/*/*/*.sql")) {
		g, err := parseGuard(string(must[[]byte](t)(fs.ReadFile(schema, name))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		ok := strings.HasPrefix(g.statement, "CREATE TABLE ") || strings.HasPrefix(g.statement, "CREATE INDEX ") ||
			strings.HasPrefix(g.statement, "ALTER TABLE ") && strings.Contains(g.statement, " ADD ")
		if !ok || strings.Contains(g.statement, "DROP ") || strings.Contains(g.statement, "MODIFY ") {
			t.Errorf("%s does more than add: %s", name, g.statement)
		}
	}
}
