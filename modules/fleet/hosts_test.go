package fleet

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"falcon/common/testkit"
)

// A host that reports is known to hbs and has its row; the times of heartbeats outlive
// kill -9 of everything, whether redis-server went with its parent or stayed.
func TestHeartbeatsOutliveAKill(t *testing.T) {
	needRedis(t)
	dir := t.TempDir()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	redisDir := filepath.Join(dir, "data", "redis")
	socket, err := socketPath(redisDir)
	if err != nil {
		t.Fatal(err)
	}
	reported := func(at map[string]string) {
		t.Helper()
		for path, want := range map[string]string{
			"/agents": fmt.Sprintf("%q", host), "/hosts": fmt.Sprintf(`"Name":%q`, host), "/host/strategies?hostname=" + host: `"metric":"agent.heartbeat.alive"`,
		} {
			testkit.Eventually(t, 15*time.Second, func() error {
				resp, err := http.Get("http://" + at["hbs.http.listen"] + path)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err == nil && !strings.Contains(string(body), want) {
					err = fmt.Errorf("%s answers %s, want %s in it", path, body, want)
				}
				return err
			})
		}
	}
	heartbeats := func(want string) {
		t.Helper()
		testkit.Eventually(t, 10*time.Second, func() error {
			got, err := command(socket, "HLEN agent_heartbeat")
			if err == nil && got != want {
				err = fmt.Errorf("%s heartbeats, want %s", got, want)
			}
			return err
		})
	}

	p, at := up(t, dir)
	reported(at)
	heartbeats(":1")
	// A host of which nobody reports, to tell memory from new heartbeats.
	if _, err := command(socket, "HSET agent_heartbeat another 1"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		aof, err := os.ReadFile(lastFile(t, filepath.Join(redisDir, "appendonlydir", "*.incr.aof")))
		if err == nil && !strings.Contains(string(aof), "another") {
			err = fmt.Errorf("it is not on disk yet")
		}
		return err
	})
	p.Kill()
	testkit.Eventually(t, 10*time.Second, func() error {
		if ping(socket) == nil {
			return fmt.Errorf("redis-server outlived its parent")
		}
		return nil
	})
	p, at = up(t, dir)
	heartbeats(":2")
	reported(at)

	// One that stays: started beside, as if its parent had not been able to end it.
	p.Kill()
	testkit.Eventually(t, 10*time.Second, func() error {
		if ping(socket) == nil {
			return fmt.Errorf("redis-server outlived its parent")
		}
		return nil
	})
	left := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", redisDir, "--appendonly", "yes", "--save", "")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = left.Wait() }() // the fleet ends it
	heartbeats(":2")
	p, at = up(t, dir)
	reported(at)
	p.Stop()
	if ping(socket) == nil {
		_ = left.Process.Kill()
		t.Error("the redis-server that was taken over outlived the fleet")
	}
}

func lastFile(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files[len(files)-1]
}
