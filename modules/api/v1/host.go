package v1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"falcon/common/httpx"
	"falcon/common/portal"
)

// aliveFor is for how long a host counts as alive after its last heartbeat.
const aliveFor = 5 * time.Minute

// Liveness is what the routes need of who hears the heartbeats.
type Liveness interface {
	// LastSeen returns the Unix times of the last heartbeats of hosts; a host that was
	// not heard of is missing.
	LastSeen(ctx context.Context, hosts []string) (map[string]int64, error)
}

// hostRow is a host as our page shows it.
type hostRow struct {
	portal.Host
	Alive    bool       `json:"alive"`
	LastSeen int64      `json:"last_seen"` // 0: not for a week, or never
	Groups   []groupRef `json:"groups"`
	Env      string     `json:"env"`            // prod, staging or test; empty for unknown
	Disabled int64      `json:"disabled_until"` // Unix seconds; 0: it is not disabled
	agentRow
}

type groupRef struct {
	ID   int64  `json:"id"`
	Name string `json:"grp_name"`
}

// hosts is a page of the hosts that q finds, with when they were heard of.
func (s *server) hosts(c *Call) (any, error) {
	limit, err := c.positive("limit", 100)
	if err != nil {
		return nil, err
	}
	page, err := c.positive("page", 1)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(c.Query("q"))
	if limit > 1000 || page > maxRows/limit || len(words) > 16 {
		return nil, bad("page %d with limit %d: a page has 1000 hosts at most, and q 16 words", page, limit)
	}
	hosts, total, err := s.Portal.SearchHosts(c.Ctx(), words, limit, (page-1)*limit)
	if err != nil {
		return nil, err
	}
	ids, names := make([]int64, len(hosts)), make([]string, len(hosts))
	for i, h := range hosts {
		ids[i], names[i] = h.ID, h.Hostname
	}
	groups, err := s.Portal.GroupsOfHosts(c.Ctx(), ids)
	if err != nil {
		return nil, err
	}
	envs, err := s.Portal.HostEnvs(c.Ctx(), names)
	if err != nil {
		return nil, err
	}
	disabled, err := s.Portal.DisabledHosts(c.Ctx(), ids, s.Now().Unix())
	if err != nil {
		return nil, err
	}
	agents, err := s.Portal.HostAgents(c.Ctx(), names)
	if err != nil {
		return nil, err
	}
	rows := make([]hostRow, len(hosts))
	seen := s.lastSeen(c, names)
	for i, h := range hosts {
		at := seen[h.Hostname]
		rows[i] = hostRow{h, at > 0 && s.Now().Sub(time.Unix(at, 0)) < aliveFor, at, []groupRef{}, envs[h.Hostname], disabled[h.ID], agentRowOf(agents[h.Hostname])}
		for _, g := range groups[h.ID] {
			rows[i].Groups = append(rows[i].Groups, groupRef{g.ID, g.Name})
		}
	}
	return map[string]any{"total": total, "hosts": rows}, nil
}

// lastSeen asks when hosts were heard of. The list of hosts does not wait for a Redis
// that is away: it says so in a header.
func (s *server) lastSeen(c *Call, names []string) map[string]int64 {
	if s.Liveness == nil || len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Ctx(), 2*time.Second)
	defer cancel()
	seen, err := s.Liveness.LastSeen(ctx, names)
	if err != nil {
		s.Log.Warn("heartbeats not read, hosts are shown as silent", "err", err)
		s.partial(c, []string{"heartbeats"})
	}
	return seen
}

// host reads the host of :host_id.
func (s *server) host(c *Call) (*portal.Host, error) {
	return ofPath(c, "host_id", "a host", s.Portal.Host)
}

func (s *server) hostTemplates(c *Call) (any, error) {
	h, err := s.host(c)
	if err != nil {
		return nil, err
	}
	return s.Portal.HostTemplates(c.Ctx(), h.ID)
}

func (s *server) hostGroups(c *Call) (any, error) {
	h, err := s.host(c)
	if err != nil {
		return nil, err
	}
	return s.Portal.HostGroups(c.Ctx(), h.ID)
}

// hostStrategies answers the rules that are in force on a host, with the reason for
// each, as hbs explains them.
func (s *server) hostStrategies(c *Call) (any, error) {
	h, err := s.host(c)
	if err != nil {
		return nil, err
	}
	if s.HBS == nil {
		return nil, noHBS("explain the rules of a host")
	}
	b, err := s.HBS.Get(c.Ctx(), fmt.Sprintf("/host/strategies?id=%d", h.ID))
	return s.relayed(c, "hbs", b, err)
}

// A Peer is another daemon's HTTP; paths begin with a slash.
type Peer interface {
	Get(ctx context.Context, path string) ([]byte, error)
	Post(ctx context.Context, path string, body []byte) ([]byte, error)
	Delete(ctx context.Context, path string) ([]byte, error)
}

// relayed hands on what another daemon answered.
func (s *server) relayed(c *Call, who string, b []byte, err error) (any, error) {
	if err == nil {
		return rawJSON(b), nil
	}
	s.Log.Warn("a daemon could not be asked", "daemon", who, "route", c.route.Path, "err", err)
	answer, ok := errors.AsType[*httpx.StatusError](err)
	switch {
	case !ok:
		return nil, &Error{Status: http.StatusBadGateway, Text: fmt.Sprintf("%s does not answer: %v", who, err)}
	case answer.Code == http.StatusNotFound:
		return nil, &Error{Status: http.StatusNotFound, Text: peerError(answer.Body)}
	case answer.Code < 500 && answer.Code != http.StatusForbidden:
		return nil, &Error{Status: http.StatusBadRequest, Text: peerError(answer.Body)}
	}
	return nil, &Error{Status: http.StatusBadGateway, Text: fmt.Sprintf("%s answers: %s", who, peerError(answer.Body))}
}

// peerError reads the error of another daemon's answer.
func peerError(body []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Error != "" {
		return answer.Error
	}
	return strings.TrimSpace(string(body))
}

// maintenance reads the hosts of the two routes below.
type maintenance struct {
	Hosts []string `json:"hosts" form:"hosts" xml:"hosts"`
	IDs   []int64  `json:"ids" form:"ids" xml:"ids"`
	Begin int64    `json:"maintain_begin" form:"maintain_begin" xml:"maintain_begin"`
	End   int64    `json:"maintain_end" form:"maintain_end" xml:"maintain_end"`
}

// through says by what the hosts are named.
func (m *maintenance) through() (string, error) {
	switch {
	case len(m.Hosts) > 0:
		return "hosts", nil
	case len(m.IDs) > 0:
		return "ids", nil
	}
	return "", badField("hosts", "hosts or ids is required")
}

func (s *server) setMaintenance(c *Call) (any, error) {
	var in maintenance
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if in.Begin <= 0 || in.End <= 0 {
		return nil, badField("maintain_begin", "maintain_begin and maintain_end are required: Unix times in seconds")
	}
	if err := s.checkMaintenance(&in); err != nil {
		return nil, err
	}
	return s.maintain(c, &in)
}

func (s *server) endMaintenance(c *Call) (any, error) {
	var in maintenance
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	in.Begin, in.End = 0, 0
	return s.maintain(c, &in)
}

func (s *server) maintain(c *Call, in *maintenance) (any, error) {
	through, err := in.through()
	if err != nil {
		return nil, err
	}
	n, err := s.Portal.SetMaintenance(c.Ctx(), in.Hosts, in.IDs, in.Begin, in.End)
	if err != nil {
		return nil, err
	}
	object := fmt.Sprintf("%d hosts", n)
	if len(in.Hosts) == 1 {
		object = in.Hosts[0]
	}
	c.Audit(object, in)
	return fmt.Sprintf("Through: %s, Affect row: %d", through, n), nil
}

// joinLine is the line that makes another host report here, as the page shows it, or why
// there is none.
func (s *server) joinLine(c *Call) (any, error) {
	var out struct {
		Command string `json:"command"`
		Why     string `json:"why"`
	}
	if s.Join == nil {
		out.Why = "this api has no agent to give"
	} else {
		out.Command, out.Why = s.Join.Line(c.gin.Request)
	}
	return out, nil
}
