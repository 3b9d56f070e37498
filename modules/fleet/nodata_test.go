package fleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// runOnce has a nodata do something at once that it would do within two minutes.
func runOnce(t *testing.T, addr, what string) (cnt int) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/debug/" + what)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Msg  string
		Data struct{ Cnt int }
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Msg != "success" {
		t.Fatalf("/debug/%s: %s %s", what, resp.Status, b)
	}
	return answer.Data.Cnt
}

// A host of a group stopped reporting ten minutes ago: the value of the row that the api
// made stands in its chart, two steps back. A host beside it reports, and one is in
// maintenance: they get none.
func TestASilentHostGetsAValue(t *testing.T) {
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	silentHost(t, root, at["nodata.http.listen"], "http://"+at["agent.http.listen"]+"/v1/push?wait=1")
	p.Stop()
}

// silentHost is the story of TestASilentHostGetsAValue.
func silentHost(t *testing.T, root *client, nodata, pushURL string) {
	t.Helper()
	root.must("POST", "/api/v1/hostgroup", values{"name": "cellar"}, nil)
	root.must("POST", "/api/v1/hostgroup/host", values{"hostgroup_id": root.group("cellar"), "hosts": []string{"cellar-a", "cellar-b", "cellar-c"}}, nil)
	now := time.Now().Unix()
	root.must("POST", "/api/v1/host/maintain", values{"hosts": []string{"cellar-c"}, "maintain_begin": now - 60, "maintain_end": now + 3600}, nil)
	root.must("POST", "/api/v1/nodata/", values{
		"name": "cellar", "obj": "cellar", "obj_type": "group", "metric": metric, "tags": "floor=0", "dstype": "GAUGE", "step": 60, "mock": -1.5,
	}, nil)
	old := now/60*60 - 600
	push(t, pushURL, []values{
		item("cellar-a", metric, "GAUGE", "floor=0", old, 40), item("cellar-b", metric, "GAUGE", "floor=0", now/60*60, 41), item("cellar-c", metric, "GAUGE", "floor=0", old, 42),
	})
	if n := runOnce(t, nodata, "config/sync"); n != 2 {
		t.Errorf("%d series are watched, want those of cellar-a and cellar-b", n)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if n := runOnce(t, nodata, "collector/collect"); n != 2 {
			return fmt.Errorf("%d last points came, want 2", n)
		}
		return nil
	})
	judged := time.Now().Unix()
	runOnce(t, nodata, "judge/judge") // or the minute has
	testkit.Eventually(t, 10*time.Second, func() error {
		points, err := root.history("cellar-a", metric+"/floor=0", old-60, now+300)
		if err != nil {
			return err
		}
		for at, v := range points {
			if v == -1.5 && at%60 == 0 && at >= judged-240 && at <= judged {
				return nil
			}
		}
		return fmt.Errorf("the points of the silent host are %v at %d", points, judged)
	})
	root.wants(5*time.Second, "cellar-b", metric+"/floor=0", map[int64]float64{now / 60 * 60: 41})
	root.wants(5*time.Second, "cellar-c", metric+"/floor=0", map[int64]float64{old: 42})
}
