package v1

import "net/http"

const prefix = "/api/v1"

// routes is the one table. Only what is in it is served.
func (s *server) routes() []Route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
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

		// graphs (contract query 2.4.10)
		{get, "/graph/endpointobj", Login, "", "", 0, (*server).endpointObjects, nil},
		{get, "/graph/endpoint", Login, "", "", 0, (*server).searchEndpoints, nil},
		{get, "/graph/endpoint_counter", Login, "", "", 0, (*server).searchCounters, nil},
		{post, "/graph/history", Login, "", "", 0, (*server).history, nil},
		{post, "/graph/lastpoint", Login, "", "", 0, (*server).lastPoint, nil},
		{post, "/graph/info", Login, "", "", 0, (*server).graphInfo, nil},
		{del, "/graph/endpoint", Strict, "delete", "endpoint", 0, (*server).deleteEndpoints, nil},
		{del, "/graph/counter", Strict, "delete", "counter", 0, (*server).deleteCounters, nil},
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
