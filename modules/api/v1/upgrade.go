package v1

import (
	"encoding/json"
	"net/http"

	"falcon/common/portal"
)

// upgradePath is where hbs takes what is asked about upgrades.
const upgradePath = "/agent/upgrade"

// upgrade says how far the upgrade of agents is, which versions there are, and which
// names two machines claim. Its first part is hbs's; without an hbs the others are
// answered alone, and the header says so.
func (s *server) upgrade(c *Call) (any, error) {
	versions, err := s.Portal.AgentVersions(c.Ctx())
	if err != nil {
		return nil, err
	}
	twice, err := s.Portal.ClaimedTwice(c.Ctx())
	if err != nil {
		return nil, err
	}
	type claimed struct {
		Hostname string `json:"hostname"`
		Also     string `json:"also"`
	}
	answer := struct {
		Upgrade  json.RawMessage `json:"upgrade"` // UpgradeStatus of hbs; null when hbs is away
		Versions map[string]int  `json:"versions"`
		Twice    []claimed       `json:"claimed_twice"`
	}{Upgrade: json.RawMessage("null"), Versions: versions, Twice: []claimed{}}
	for _, h := range twice {
		answer.Twice = append(answer.Twice, claimed{h.Hostname, h.AlsoClaimed})
	}
	if s.HBS == nil {
		s.partial(c, []string{"hbs"})
		return answer, nil
	}
	b, err := s.HBS.Get(c.Ctx(), upgradePath+"/status")
	var status struct {
		Data json.RawMessage `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(b, &status)
	}
	if err != nil {
		s.Log.Warn("hbs does not say how far the upgrade of agents is", "err", err)
		s.partial(c, []string{"hbs"})
		return answer, nil
	}
	if len(status.Data) > 0 {
		answer.Upgrade = status.Data
	}
	return answer, nil
}

// orderUpgrade hands an order on to hbs, which checks it.
func (s *server) orderUpgrade(c *Call) (any, error) {
	var in json.RawMessage
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	var what struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(in, &what); err != nil {
		return nil, bad("the order is no JSON object: %v", err)
	}
	if s.HBS == nil {
		return nil, noHBS("order an upgrade")
	}
	b, err := s.HBS.Post(c.Ctx(), upgradePath, in)
	return s.upgraded(c, what.Version, in, b, err)
}

func (s *server) cancelUpgrade(c *Call) (any, error) {
	if s.HBS == nil {
		return nil, noHBS("cancel an upgrade")
	}
	b, err := s.HBS.Delete(c.Ctx(), upgradePath)
	return s.upgraded(c, "all", nil, b, err)
}

func (s *server) stopUpgrade(c *Call) (any, error) { return s.moveUpgrade(c, "/stop") }

func (s *server) resumeUpgrade(c *Call) (any, error) { return s.moveUpgrade(c, "/go") }

func (s *server) moveUpgrade(c *Call, how string) (any, error) {
	if s.HBS == nil {
		return nil, noHBS("stop an upgrade or let it go on")
	}
	b, err := s.HBS.Post(c.Ctx(), upgradePath+how, []byte("{}"))
	return s.upgraded(c, "all", nil, b, err)
}

// upgraded hands on what hbs answered to a change, without its envelope, and leaves an
// audit line when it was done.
func (s *server) upgraded(c *Call, object string, what any, b []byte, err error) (any, error) {
	if err != nil {
		return s.relayed(c, "hbs", b, err)
	}
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, &Error{Status: http.StatusBadGateway, Text: "hbs answers what is no JSON: " + err.Error()}
	}
	c.Audit(object, what)
	return rawJSON(answer.Data), nil
}

// agentRow is what an agent of ours reports beyond stock.
type agentRow struct {
	ConfigMd5    string `json:"config_md5,omitempty"`
	UpgradeError string `json:"upgrade_error,omitempty"`
	AlsoClaimed  string `json:"also_claimed,omitempty"`
}

func agentRowOf(a portal.HostAgent) agentRow {
	return agentRow{a.ConfigMd5, a.UpgradeError, a.AlsoClaimed}
}
