package v1

import (
	"net/http"

	"falcon/modules/api/join"
)

const prefix = "/api/v1"

// routes is the one table. Only what is in it is served.
func (s *server) routes() []Route {
	const get, post, put, del, patch = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch
	const expectation = http.StatusExpectationFailed // 417, stock's word for many errors

	table := []Route{
		// users (contract query 2.4.1)
		{get, "/user/auth_session", Open, "", "", 0, (*server).authSession, nil},
		{post, "/user/login", Open, "login", "session", 0, (*server).login, nil},
		{get, "/user/logout", Open, "logout", "session", 0, (*server).logout, nil},
		{post, "/user/create", Open, "create", "user", 0, (*server).createUser, nil},
		{get, "/user/current", Login, "", "", expectation, (*server).currentUser, nil},
		{get, "/user/u/:uid", Login, "", "", http.StatusNotFound, (*server).userByID, nil},
		{put, "/user/u/:uid", SelfOrAdmin, "update", "user", 0, (*server).updateUserByID, nil},
		{get, "/user/name/:user_name", Login, "", "", expectation, (*server).userByName, nil},
		{put, "/user/update", Person, "update", "user", 0, (*server).updateSelf, nil},
		{put, "/user/cgpasswd", Person, "password", "user", 0, (*server).changeOwnPassword, nil},
		{get, "/user/users", Login, "", "", 0, (*server).users, nil},
		{get, "/user/u/:uid/in_teams", Login, "", "", 0, (*server).inTeams, nil},
		{get, "/user/u/:uid/teams", Login, "", "", 0, (*server).teamsOfUser, nil},
		{put, "/admin/change_user_role", Admin, "role", "user", 0, (*server).changeRole, nil},
		{put, "/admin/change_user_passwd", Admin, "password", "user", 0, (*server).changePassword, nil},
		{put, "/admin/change_user_profile", Admin, "update", "user", 0, (*server).changeProfile, nil},
		{del, "/admin/delete_user", Admin, "delete", "user", expectation, (*server).deleteUser, nil},
		{post, "/admin/login", Admin, "login_as", "session", 0, (*server).loginAs, nil},

		// teams (contract query 2.4.2)
		{get, "/team", Login, "", "", 0, (*server).teams, nil},
		{get, "/team/dict", Login, "", "", 0, (*server).teamDict, nil},
		{get, "/team/t/:team_id", Login, "", "", 0, (*server).teamByID, nil},
		{get, "/team/name/:team_name", Login, "", "", 0, (*server).teamByName, nil},
		{post, "/team", Login, "create", "team", 0, (*server).createTeam, nil},
		{put, "/team", Owner, "update", "team", 0, (*server).updateTeam, nil},
		{post, "/team/user", Owner, "update", "team", 0, (*server).addTeamUsers, nil},
		{del, "/team/:team_id", Owner, "delete", "team", expectation, (*server).deleteTeam, nil},

		// hosts and groups (contract query 2.4.3)
		{get, "/hostgroup", Login, "", "", 0, (*server).groups, nil},
		{post, "/hostgroup", Login, "create", "hostgroup", 0, (*server).createGroup, nil},
		{put, "/hostgroup", Owner, "update", "hostgroup", 0, (*server).renameGroup, nil},
		{get, "/hostgroup/:id", Login, "", "", 0, (*server).groupWithHosts, nil},
		{del, "/hostgroup/:id", Owner, "delete", "hostgroup", 0, (*server).deleteGroup, nil},
		{post, "/hostgroup/host", Owner, "bind", "hostgroup", 0, (*server).bindHosts, nil},
		{put, "/hostgroup/host", Owner, "unbind", "hostgroup", 0, (*server).unbindHost, nil},
		{patch, "/hostgroup/:id/host", Owner, "bind", "hostgroup", 0, (*server).patchHosts, nil},
		{put, "/hostgroup/:id/hosts", Owner, "bind", "hostgroup", 0, (*server).setHosts, nil},
		{get, "/hostgroup/:id/plugins", Login, "", "", 0, (*server).groupPlugins, nil},
		{post, "/plugin", Owner, "create", "plugin", 0, (*server).createPlugin, nil},
		{del, "/plugin/:id", Owner, "delete", "plugin", 0, (*server).deletePlugin, nil},
		{post, "/hostgroup/template", Owner, "bind", "template", 0, (*server).bindTemplate, nil},
		{put, "/hostgroup/template", Owner, "unbind", "template", 0, (*server).unbindTemplate, nil},
		{get, "/hostgroup/:id/template", Login, "", "", 0, (*server).groupTemplates, nil},
		{get, "/hostgroupsimple/:id", Login, "", "", 0, (*server).groupHostNames, nil},
		{get, "/hostgrouphosts/:group_name", Login, "", "", 0, (*server).groupHostNamesByName, nil},
		{get, "/hostgroupstag", Login, "", "", 0, (*server).groupEndpoints, nil},
		{get, "/hosts/join", Login, "", "", 0, (*server).joinLine, nil},
		{get, "/hosts", Login, "", "", 0, (*server).hosts, nil},
		{get, "/host/:host_id/template", Login, "", "", expectation, (*server).hostTemplates, nil},
		{get, "/host/:host_id/hostgroup", Login, "", "", expectation, (*server).hostGroups, nil},
		{get, "/host/:host_id/strategies", Login, "", "", expectation, (*server).hostStrategies, nil},
		{get, "/fleet/health", Login, "", "", 0, (*server).fleet, nil},
		{get, "/agent/upgrade", Login, "", "", 0, (*server).upgrade, nil},
		{post, "/agent/upgrade", Admin, "order", "upgrade", 0, (*server).orderUpgrade, nil},
		{del, "/agent/upgrade", Admin, "cancel", "upgrade", 0, (*server).cancelUpgrade, nil},
		{post, "/agent/upgrade/stop", Admin, "stop", "upgrade", 0, (*server).stopUpgrade, nil},
		{post, "/agent/upgrade/go", Admin, "resume", "upgrade", 0, (*server).resumeUpgrade, nil},
		{post, "/host/maintain", Login, "maintain", "host", expectation, (*server).setMaintenance, nil},
		{put, "/host/env", Owner, "env", "host", 0, (*server).setHostEnv, nil},
		{del, "/host/maintain", Login, "maintain_end", "host", expectation, (*server).endMaintenance, nil},

		// templates, actions, strategies (contract query 2.4.5)
		{get, "/template", Login, "", "", 0, (*server).templates, nil},
		{get, "/template_simple", Legacy, "", "", 0, (*server).templateNames, nil},
		{get, "/template/:id", Login, "", "", 0, (*server).wholeTemplate, nil},
		{post, "/template", Login, "create", "template", 0, (*server).createTemplate, nil},
		{put, "/template", Owner, "update", "template", 0, (*server).updateTemplate, nil},
		{del, "/template/:id", Owner, "delete", "template", 0, (*server).deleteTemplate, nil},
		{get, "/template/:id/hostgroup", Login, "", "", 0, (*server).templateGroups, nil},
		{get, "/template/:id/inherited", Login, "", "", 0, (*server).inherited, nil},
		{post, "/template/action", Owner, "create", "action", 0, (*server).createAction, nil},
		{put, "/template/action", Owner, "update", "action", 0, (*server).updateAction, nil},
		{get, "/action/:act_id", Legacy, "", "", 0, (*server).action, nil},
		{get, "/strategy", Login, "", "", expectation, (*server).strategies, nil},
		{get, "/strategy/:sid", Login, "", "", expectation, (*server).strategy, nil},
		{post, "/strategy", Owner, "create", "strategy", expectation, (*server).createStrategy, nil},
		{put, "/strategy", Owner, "update", "strategy", expectation, (*server).updateStrategy, nil},
		{del, "/strategy/:sid", Owner, "delete", "strategy", expectation, (*server).deleteStrategy, nil},
		{post, "/strategy/check", Login, "", "", 0, (*server).checkStrategy, nil},
		{post, "/strategy/backtest", Owner, "", "", expectation, (*server).backtestStrategy, nil},
		{get, "/union", Login, "", "", 0, (*server).unions, nil},
		{get, "/union/:id", Login, "", "", 0, (*server).union, nil},
		{post, "/union", Owner, "create", "union", 0, (*server).createUnion, nil},
		{put, "/union", Owner, "update", "union", 0, (*server).updateUnion, nil},
		{del, "/union/:id", Owner, "delete", "union", 0, (*server).deleteUnion, nil},
		{get, "/tplgrp", Legacy, "", "", 0, (*server).endpointTemplateGroups, nil},
		{get, "/metric/default_list", Login, "", "", 0, (*server).defaultMetrics, nil},

		// expressions (contract query 2.4.6)
		{get, "/expression", Login, "", "", expectation, (*server).expressions, nil},
		{get, "/expression/:eid", Login, "", "", expectation, (*server).expression, nil},
		{post, "/expression", Login, "create", "expression", expectation, (*server).createExpression, nil},
		{put, "/expression", Owner, "update", "expression", expectation, (*server).updateExpression, nil},
		{del, "/expression/:eid", Owner, "delete", "expression", expectation, (*server).deleteExpression, nil},
		{post, "/expression/backtest", Login, "", "", expectation, (*server).backtestExpression, nil},

		// aggregators and nodata (contract query 2.4.4 and 2.4.7)
		{get, "/hostgroup/:id/aggregators", Login, "", "", 0, (*server).groupAggregators, nil},
		{get, "/aggregator/:id", Login, "", "", 0, (*server).aggregator, nil},
		{post, "/aggregator", Owner, "create", "aggregator", 0, (*server).createAggregator, nil},
		{put, "/aggregator", Owner, "update", "aggregator", 0, (*server).updateAggregator, nil},
		{del, "/aggregator/:id", Owner, "delete", "aggregator", 0, (*server).deleteAggregator, nil},
		{get, "/nodata", Login, "", "", expectation, (*server).nodatas, nil},
		{get, "/nodata/:nid", Login, "", "", expectation, (*server).nodata, nil},
		{post, "/nodata", Login, "create", "nodata", expectation, (*server).createNodata, nil},
		{put, "/nodata", Owner, "update", "nodata", expectation, (*server).updateNodata, nil},
		{del, "/nodata/:nid", Owner, "delete", "nodata", expectation, (*server).deleteNodata, nil},

		// alarms (contract query 2.4.8)
		{get, "/alarm/eventcases", Login, "", "", 0, withAlarms((*server).eventCases), nil},
		{post, "/alarm/eventcases", Login, "", "", 0, withAlarms((*server).eventCases), nil},
		{get, "/alarm/events", Login, "", "", 0, withAlarms((*server).events), nil},
		{post, "/alarm/events", Login, "", "", 0, withAlarms((*server).events), nil},
		{get, "/alarm/event_note", Login, "", "", 0, withAlarms((*server).notes), nil},
		{post, "/alarm/event_note", Login, "note", "event_case", 0, withAlarms((*server).addNote), nil},
		{get, "/alarm/problems", Login, "", "", 0, withJudges((*server).problems), nil},
		{get, "/alarm/combinations", Login, "", "", 0, withJudges((*server).combinations), nil},
		{post, "/alarm/ack", Person, "acknowledge", "event_case", 0, withJudges((*server).acknowledge), nil},
		{del, "/alarm/ack/:event_id", Person, "unacknowledge", "event_case", 0, withJudges((*server).unacknowledge), nil},
		{post, "/alarm/link", Login, "", "", 0, (*server).createAlertLink, nil},
		{get, "/alarm/link/:path", Open, "", "", 0, (*server).alertLink, nil},
		{get, "/alarm/disable", Login, "", "", 0, (*server).disables, nil},
		{get, "/alarm/disable/silences", Login, "", "", 0, (*server).silences, nil},
		{post, "/alarm/disable", Owner, "create", "disable", 0, (*server).createDisable, nil},
		{post, "/alarm/disable/preview", Login, "", "", 0, (*server).previewDisable, nil},
		{del, "/alarm/disable/:id", Owner, "cancel", "disable", 0, (*server).cancelDisable, nil},
		{get, "/alarm/notices", Login, "", "", 0, withAlarms((*server).notices), nil},
		{get, "/alarm/inbox", Person, "", "", 0, withAlarms((*server).inbox), nil},
		{post, "/alarm/inbox/read", Person, "read", "inbox", 0, withAlarms((*server).readInbox), nil},
		{get, "/alarm/channels", Login, "", "", 0, withAlarms((*server).channels), nil},
		{post, "/alarm/channels", Admin, "create", "channel", 0, withAlarms((*server).createChannel), nil},
		{post, "/alarm/channels/test", Admin, "test", "channel", 0, withAlarms((*server).testNewChannel), nil},
		{put, "/alarm/channels/:id", Admin, "update", "channel", 0, withAlarms((*server).updateChannel), nil},
		{del, "/alarm/channels/:id", Admin, "delete", "channel", 0, withAlarms((*server).deleteChannel), nil},
		{post, "/alarm/channels/:id/test", Admin, "test", "channel", 0, withAlarms((*server).testChannel), nil},

		// screens (contract query 2.4.9)
		{post, "/dashboard/screen", Login, "create", "screen", 0, withDashboard((*server).createScreen), nil},
		{get, "/dashboard/screen/:id", Login, "", "", 0, withDashboard((*server).screen), nil},
		{get, "/dashboard/screens/pid/:pid", Login, "", "", 0, withDashboard((*server).screensBelow), nil},
		{get, "/dashboard/screens", Login, "", "", 0, withDashboard((*server).screens), nil},
		{get, "/dashboard/screensearch/:name", Login, "", "", 0, withDashboard((*server).screenByName), nil},
		{get, "/dashboard/screensall", Login, "", "", 0, withDashboard((*server).allScreens), nil},
		{put, "/dashboard/screen/:id", Login, "update", "screen", 0, withDashboard((*server).updateScreen), nil},
		{del, "/dashboard/screen/:id", Login, "delete", "screen", 0, withDashboard((*server).deleteScreen), nil},
		{post, "/dashboard/graph", Login, "create", "screen_graph", 0, withDashboard((*server).createWidget), nil},
		{put, "/dashboard/graph/:id", Login, "update", "screen_graph", 0, withDashboard((*server).updateWidget), nil},
		{get, "/dashboard/graph/:id", Login, "", "", 0, withDashboard((*server).widget), nil},
		{del, "/dashboard/graph/:id", Login, "delete", "screen_graph", 0, withDashboard((*server).deleteWidget), nil},
		{get, "/dashboard/graphs/screen/:screen_id", Login, "", "", 0, withDashboard((*server).widgets), nil},
		{post, "/dashboard/tmpgraph", Login, "create", "tmp_graph", 0, withDashboard((*server).saveTmpGraph), nil},
		{get, "/dashboard/tmpgraph/:id", Login, "", "", 0, withDashboard((*server).tmpGraph), nil},

		// graphs (contract query 2.4.10)
		{get, "/graph/endpointobj", Login, "", "", 0, (*server).endpointObjects, nil},
		{get, "/graph/endpoint", Login, "", "", 0, (*server).searchEndpoints, nil},
		{get, "/graph/endpoint_counter", Login, "", "", 0, (*server).searchCounters, nil},
		{post, "/graph/history", Login, "", "", 0, (*server).history, nil},
		{post, "/graph/lastpoint", Login, "", "", 0, (*server).lastPoint, nil},
		{post, "/graph/info", Login, "", "", 0, (*server).graphInfo, nil},
		{del, "/graph/endpoint", Strict, "delete", "endpoint", 0, (*server).deleteEndpoints, nil},
		{del, "/graph/counter", Strict, "delete", "counter", 0, (*server).deleteCounters, nil},

		// the data source of Grafana (contract query 2.4.11)
		{get, "/grafana", Grafana, "", "", 0, (*server).grafanaFind, nil},
		{get, "/grafana/metrics/find", Grafana, "", "", 0, (*server).grafanaFind, nil},
		{get, "/grafana/render", Grafana, "", "", 0, (*server).grafanaRender, nil},
		{post, "/grafana/render", Grafana, "", "", 0, (*server).grafanaRender, nil},
	}
	for i := range table {
		table[i].Path = prefix + table[i].Path
	}

	// The paths that every daemon has. Those that are for this machine only say
	// so themselves.
	for _, path := range []string{"/health", "/version", "/workdir", "/config", "/counter/all", "/statistics/all", "/metrics", "/config/reload", "/debug/pprof/*name"} {
		table = append(table, Route{Method: get, Path: path, Who: Open, Raw: s.Admin})
	}
	for _, path := range []string{"/config/reload", "/debug/pprof/*name"} {
		table = append(table, Route{Method: post, Path: path, Who: Open, Raw: s.Admin})
	}

	// A host that joins has no token yet; there is no secret in it.
	if s.Join != nil {
		table = append(table,
			Route{Method: get, Path: join.Path, Who: Open, Raw: http.HandlerFunc(s.Join.Script)},
			Route{Method: get, Path: join.Path + "/:file", Who: Open, Raw: http.HandlerFunc(s.Join.Download)},
		)
	}

	// Load balancers look without reading.
	table = append(table, Route{Method: http.MethodHead, Path: "/health", Who: Open, Raw: s.Admin})

	root := s.Page
	if root == nil {
		root = http.HandlerFunc(greet)
	}
	return append(table, Route{Method: get, Path: "/", Who: Open, Raw: root})
}

func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("This is the api of Falcon. What it answers is below " + prefix + "/.\n"))
}
