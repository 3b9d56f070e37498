package hbs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"falcon/common/model"
)

// claimFor is for how long a name that two machines claimed in turns counts as such.
const claimFor = 10 * time.Minute

// maxClaims bounds how many machines are remembered for a name.
const maxClaims = 4

// A claim is a machine that reports under a name.
type claim struct {
	machine, boot, ip string
	last              time.Time
}

// same says whether two reports come from one machine. A clone has its original's
// machine id and another boot id; agents of others have their address alone.
func (c claim) same(o claim) bool {
	if c.machine == "" && c.boot == "" || o.machine == "" && o.boot == "" {
		return c.ip == o.ip
	}
	return c.machine == o.machine && c.boot == o.boot
}

func (c claim) String() string {
	if c.machine == "" && c.boot == "" {
		return "a machine at " + c.ip
	}
	return fmt.Sprintf("machine %s, boot %s, at %s", cmp.Or(c.machine, "?"), cmp.Or(c.boot, "?"), c.ip)
}

// claims are the machines that report under one name, the last to do so first.
type claims struct {
	all   []claim
	other string    // the machine that takes turns with the first
	until time.Time // when that is forgotten
}

// heard notes a report and returns the other machine that claims the name, if there is
// one. A host that was started again or has a new address never comes back as what it
// was; two machines that take turns do.
func (c *claims) heard(r *model.AgentReportRequest, now time.Time) (other string) {
	me := claim{r.MachineID, r.BootID, r.IP, now}
	if now.After(c.until) {
		c.other = ""
	}
	c.all = slices.DeleteFunc(c.all, func(o claim) bool { return now.Sub(o.last) > claimFor })
	i := slices.IndexFunc(c.all, me.same)
	if i > 0 {
		c.other, c.until = c.all[0].String(), now.Add(claimFor)
	}
	if i >= 0 {
		c.all = slices.Delete(c.all, i, i+1)
	}
	c.all = slices.Insert(c.all, 0, me)
	c.all = c.all[:min(len(c.all), maxClaims)]
	return c.other
}
