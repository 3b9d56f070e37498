package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"falcon/common/queue/spool"
)

// spoolDir is the folder of an outlet's spool.
func (o *outlet) spoolDir(base string) string { return filepath.Join(base, o.folder) }

func (o *outlet) spoolPrefix() string { return o.kind + "-" + o.node + "-" }

// open opens the outlet's spool.
func (o *outlet) open(s Spool) error {
	sp, err := spool.Open(spool.Options{
		Dir: o.spoolDir(s.Dir), MaxBytes: int64(s.MaxSize) << 20, Now: o.now,
		// A verdict on old points helps nobody, so judge's spool never refuses new
		// ones.
		DropOldest: o.judges(),
	})
	if err != nil {
		return err
	}
	o.spool, o.maxSpool = sp, int64(s.MaxSize)<<20
	o.spooling = !sp.Empty()
	o.opened.Store(true)
	return nil
}

// waits returns how many points the spool has.
func (o *outlet) waits() int64 {
	if !o.opened.Load() {
		return 0
	}
	return o.spool.Stats().Held
}

// openSpools opens every outlet's spool, or none.
func (t *Transfer) openSpools() error {
	if err := t.adoptSpools(); err != nil {
		return err
	}
	for i, o := range t.outlets {
		if err := o.open(t.cfg.Spool); err != nil {
			err = fmt.Errorf("transfer: spool for %s %s: %w", o.kind, o.addr, err)
			for _, opened := range t.outlets[:i] {
				_ = opened.spool.Close() // nothing was written to it
			}
			return err
		}
	}
	return nil
}

// adoptSpools looks for spools of addresses that are no longer configured. A node
// that has one address and moved gets the spool of its old one; any other such spool
// stays where it is, and the log says so.
func (t *Transfer) adoptSpools() error {
	entries, err := os.ReadDir(t.cfg.Spool.Dir)
	if err != nil {
		return nil // there is none yet; one that can not be read fails when it is opened
	}
	for _, e := range entries {
		dir := filepath.Join(t.cfg.Spool.Dir, e.Name())
		if !e.IsDir() || slices.ContainsFunc(t.outlets, func(o *outlet) bool { return o.spoolDir(t.cfg.Spool.Dir) == dir }) {
			continue
		}
		n, err := spool.Held(dir)
		if err != nil || n == 0 {
			continue
		}
		heir := t.heir(e.Name())
		if heir == nil {
			t.log.Warn("a spool belongs to a peer that is not configured; its points stay there", "dir", dir, "n", n)
			continue
		}
		own := heir.spoolDir(t.cfg.Spool.Dir)
		if err := os.Rename(dir, own); err != nil {
			return fmt.Errorf("transfer: take over the spool of %s %s's earlier address: %w", heir.kind, heir.node, err)
		}
		t.log.Info("node has another address; what was spooled for it is sent there", "node", heir.node, "peer", heir.addr, "n", n)
	}
	return nil
}

// heir returns the only outlet of the node that the spool folder belongs to, unless
// it has a spool of its own.
func (t *Transfer) heir(folder string) *outlet {
	var best *outlet
	same := 0
	for _, o := range t.outlets {
		prefix := o.spoolPrefix()
		if o.kind == kindTransfer || !strings.HasPrefix(folder, prefix) {
			continue
		}
		switch {
		case best == nil || len(prefix) > len(best.spoolPrefix()): // node names may be prefixes of each other
			best, same = o, 1
		case prefix == best.spoolPrefix():
			same++
		}
	}
	if same != 1 {
		return nil
	}
	if _, err := os.Stat(best.spoolDir(t.cfg.Spool.Dir)); err == nil {
		return nil
	}
	return best
}
