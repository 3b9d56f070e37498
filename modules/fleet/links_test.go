package fleet

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a stock nodata said to a stock transfer, and a stock aggregator to a stock agent,
// said to ours: the answers are the same, but for how long they took.
func TestStockNeighbours(t *testing.T) {
	_, at := up(t, t.TempDir())
	for dir, addr := range map[string]string{"nodata-transfer": at["transfer.http.listen"], "aggregator-agent": at["agent.http.listen"]} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.c2s.bin"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no captures of %s: %v", dir, err)
		}
		for _, file := range files {
			say, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			hear, err := os.ReadFile(strings.Replace(file, ".c2s.", ".s2c.", 1))
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(say); err != nil {
				t.Fatal(err)
			}
			requests, want, got := bufio.NewReader(bytes.NewReader(say)), bufio.NewReader(bytes.NewReader(hear)), bufio.NewReader(c)
			for n := 0; ; n++ {
				req, err := http.ReadRequest(requests)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, req.Body); err != nil {
					t.Fatal(err)
				}
				x, y := answer(t, got, req), answer(t, want, req)
				if x != y {
					t.Errorf("%s, answer %d: %s\nstock's %s", file, n, x, y)
				}
			}
			c.Close()
		}
	}
}

// answer reads an HTTP answer: status, type and body, without the time it took.
func answer(t *testing.T, r *bufio.Reader, req *http.Request) string {
	t.Helper()
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(bytes.TrimSpace(body))
	if i := strings.Index(text, `"Latency":`); i >= 0 {
		text = text[:i]
	}
	return resp.Status + " " + resp.Header.Get("Content-Type") + " " + text
}
