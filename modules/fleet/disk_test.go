package fleet

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"falcon/common/testkit"
)

// The disk of graph, of judge, of the spool of transfer and of the spool of agent are full,
// one after the other and all at once. Each says so and acknowledges nothing that it could
// not keep; when there is room they go on, graph after a restart, and nothing that was
// acknowledged is lost, and nothing told twice.
func TestDisksAreFull(t *testing.T) {
	t.Parallel()
	disks := map[string]*testkit.Disk{}
	k := newKillChain(t, func(k *killChain) {
		for name, size := range map[string]string{"graph": "96m", "judge": "64m", "transfer": "64m", "agent": "64m"} {
			disks[name] = testkit.SmallDisk(t, filepath.Join(k.dir, name), size)
		}
	})
	k.works("alarm")

	// graph: transfer keeps points for it; it answers queries, and takes points after a restart.
	disks["graph"].Fill()
	k.says("graph-0", "is read-only until a restart")
	rounds := k.rounds()
	testkit.Eventually(t, 30*time.Second, func() error {
		if k.rounds() < rounds+30 {
			return errors.New("transfer takes nothing")
		}
		return nil
	})
	disks["graph"].Free()
	k.process("graph-0").Kill()
	k.start("graph-0", "")
	k.healthy("graph-0")
	k.verify()

	// judge: people are told, and transfer keeps what it does not acknowledge.
	disks["judge"].Fill()
	k.says("judge-0", "the journal takes nothing, make room in the folder judge")
	k.process("judge-0").Kill()
	disks["judge"].Free()
	k.start("judge-0", "")
	k.healthy("judge-0")
	k.verify()
	disks["judge"].Fill()
	k.says("judge-0", "the journal takes nothing, make room in the folder judge")
	disks["judge"].Free()
	k.healthy("judge-0")
	k.verify()

	// transfer: it needs its disk when a graph is away, and then refuses what it can not keep.
	disks["transfer"].Fill()
	k.process("graph-0").Kill()
	k.says("transfer-0", "is away and its spool takes nothing")
	disks["transfer"].Free()
	k.start("graph-0", "")
	k.healthy("graph-0")
	k.healthy("transfer-0")
	k.verify()

	// agent: what it can not keep it answers for when transfer has it.
	disks["agent"].Fill()
	k.works("agent")
	k.process("transfer-0").Kill()
	<-time.After(300 * time.Millisecond) // some are pushed meanwhile
	k.process("agent-0").Kill()
	disks["agent"].Free()
	for _, name := range []string{"transfer-0", "agent-0"} {
		k.start(name, "")
		k.healthy(name)
	}
	k.verify()

	disks["judge"].Fill()
	k.says("judge-0", "the journal takes nothing") // which it sees while it is given points
	for _, d := range disks {
		d.Fill()
	}
	k.says("transfer-0", "judge judge-0 at") // for which it can not keep anything
	k.process("transfer-0").Kill()
	for _, d := range disks {
		d.Free()
	}
	k.process("graph-0").Kill()
	for _, name := range []string{"graph-0", "transfer-0"} {
		k.start(name, "")
		k.healthy(name)
	}
	k.verify()
}
