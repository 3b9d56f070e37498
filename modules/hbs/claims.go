package hbs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"falcon/common/model"
	"falcon/common/portal"
)

// claimFor is for how long a name that two machines claimed in turns counts as such.
const claimFor = 10 * time.Minute

// claimLook is how often it is looked for machines that report to another hbs; fresh how
// long ago the last report here may be for that.
const claimLook, fresh = 5 * time.Minute, 2 * time.Minute

// elsewhereFor is for how long what was found at another hbs counts: the two write the
// row in turns, and each finds the other's but every few looks.
const elsewhereFor = 6 * claimLook

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

	suspect claim // heard of at another hbs at the last look
}

// elsewhere notes that another hbs hears another machine under this name, when it was so
// at the last look, too: one that was started again meanwhile, and reports elsewhere now,
// is silent here by then.
func (c *claims) elsewhere(a *portal.HostAgent, now time.Time) {
	there := claim{machine: a.MachineID, boot: a.BootID}
	if len(c.all) == 0 || now.Sub(c.all[0].last) > fresh || there.machine == "" && there.boot == "" || there.same(c.all[0]) {
		c.suspect = claim{}
		return
	}
	if c.suspect != there {
		c.suspect = there
		return
	}
	c.other, c.until = fmt.Sprintf("machine %s, boot %s, at another hbs", cmp.Or(there.machine, "?"), cmp.Or(there.boot, "?")), now.Add(elsewhereFor)
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
