package portal

import (
	"reflect"
	"strings"
	"testing"
)

// Rows are written once and then changed, whatever an agent sends; hosts that nobody
// asked for stay out.
func TestHostAgents(t *testing.T) {
	eachStore(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		save := func(agents ...HostAgent) {
			t.Helper()
			if err := db.SaveHostAgents(ctx, agents); err != nil {
				t.Fatal(err)
			}
		}
		h1 := HostAgent{"h1", "m1", "b1", "35ac8534c0b31237e844ef8ee2bb9b9e", "", ""}
		h2 := HostAgent{"h2", "m2'--", "b2", "", "7.1: wrong MD5", "machine m3 at 10.0.0.3"}
		save(h1, h2)
		save(h1, h2) // unchanged
		h1.BootID = "b9"
		save(h1, HostAgent{Hostname: "h3", UpgradeError: strings.Repeat("字", 2000)})
		got := must[map[string]HostAgent](t)(db.HostAgents(ctx, []string{"h1", "h2", "none"}))
		if want := map[string]HostAgent{"h1": h1, "h2": h2}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		if rows := must[[]HostAgent](t)(db.ClaimedTwice(ctx)); !reflect.DeepEqual(rows, []HostAgent{h2}) {
			t.Errorf("claimed twice: %+v", rows)
		}
		must[[]string](t)(db.SaveHosts(ctx, []HostReport{{Hostname: "h1", AgentVersion: "7.1"}, {Hostname: "h2", AgentVersion: "7.1"}, {Hostname: "h3"}}, "", false))
		if got := must[map[string]int](t)(db.AgentVersions(ctx)); !reflect.DeepEqual(got, map[string]int{"7.1": 2, "": 1}) {
			t.Errorf("versions %v", got)
		}
	})
}
