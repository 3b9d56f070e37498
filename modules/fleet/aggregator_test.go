package fleet

import (
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

// A row made through api over three hosts becomes points in graph: the mean of those that
// have reported. The row's page says how many they are.
func TestAggregatorToGraph(t *testing.T) {
	dir := t.TempDir()
	p, at := up(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, "data", "root-password"))
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, "http://"+at["api.web_port"], "root", strings.TrimSpace(string(password)))
	root.must("POST", "/api/v1/hostgroup", values{"name": "trio"}, nil)
	group := root.group("trio")
	root.must("POST", "/api/v1/hostgroup/host", values{"hostgroup_id": group, "hosts": []string{"trio-a", "trio-b", "trio-c", "trio-silent"}}, nil)
	row := func(change values) values {
		v := values{"hostgroup_id": group, "numerator": "$(" + metric + "/floor=1)", "denominator": "$#", "endpoint": "trio", "metric": "temperature.mean", "tags": "of=all", "step": 10}
		for key, value := range change {
			v[key] = value
		}
		return v
	}
	var made struct{ ID int }
	root.must("POST", "/api/v1/aggregator", row(nil), &made)
	root.must("POST", "/api/v1/aggregator", row(values{"numerator": "$(" + metric + "/floor=1)>15", "metric": "temperature.hot", "tags": ""}), nil)
	err = root.call("POST", "/api/v1/aggregator", row(values{"numerator": "$(a)+$(b)>40"}), new(any))
	if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), "put brackets around the sum") {
		t.Errorf("a row that can not be computed: %v", err)
	}

	// The hosts report until the newest result is what it should be.
	wants := func(counter string, want float64) {
		t.Helper()
		testkit.Eventually(t, 40*time.Second, func() error {
			now := time.Now().Unix()
			var points []values
			for host, v := range map[string]float64{"trio-a": 10, "trio-b": 20, "trio-c": 60} {
				points = append(points, values{"endpoint": host, "metric": metric, "counterType": "GAUGE", "tags": "floor=1", "timestamp": now, "step": 10, "value": v})
			}
			push(t, "http://"+at["agent.http.listen"]+"/v1/push?wait=1", points)
			got, err := root.history("trio", counter, now-60, now+10)
			if err != nil {
				return err
			}
			newest := int64(0)
			for ts := range got {
				newest = max(newest, ts)
			}
			if newest == 0 || got[newest] != want {
				return fmt.Errorf("%s of trio is %v, want %v", counter, got, want)
			}
			return nil
		})
	}
	wants("temperature.mean/of=all", 30)
	wants("temperature.hot", 2.0/3)
	resp, err := http.Get("http://" + at["poly_metric.http.listen"] + "/items")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	items, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(items), "\n")
	for _, part := range []string{fmt.Sprintf("id=%d ", made.ID), "metric=temperature.mean", "hosts=3/4", "value=30", "lacking=trio-silent/" + metric + "/floor=1"} {
		if !strings.Contains(line, part) {
			t.Errorf("/items lacks %s: %s", part, line)
		}
	}

	// An edit is in force.
	root.must("PUT", "/api/v1/aggregator", row(values{"id": made.ID, "denominator": "1", "metric": "temperature.sum"}), nil)
	wants("temperature.sum/of=all", 90)
	p.Stop()
}
