package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/stream"
	"falcon/modules/fleet"
)

// up starts falcon up on free ports and returns once its page is there.
func (b *bench) up(ctx context.Context) (p *process, at map[string]string, err error) {
	cfg := filepath.Join(b.dir, "fleet.json")
	err = os.WriteFile(cfg, []byte(`{
		"agent": {"http": {"enabled": true, "listen": ":0"}},
		"transfer": {"http": {"enabled": true, "listen": ":0"}, "socket": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"graph": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"plus_judge": {"http": {"enabled": true, "listen": ":0"}, "rpc": {"enabled": true, "listen": ":0"}},
		"hbs": {"listen": ":0", "http": {"enabled": true, "listen": ":0"}},
		"alarm": {"http": {"enabled": true, "listen": ":0"}},
		"nodata": {"http": {"enabled": true, "listen": ":0"}},
		"api": {"web_port": ":0"},
		"poly_metric": {"http": {"enabled": true, "listen": ":0"}}
	}`), 0o600)
	if err != nil {
		return nil, nil, err
	}
	if p, err = b.start("falcon", "up", "--data", "data", "--config", cfg); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if at, err = fleet.Endpoints(filepath.Join(b.dir, "data")); err != nil {
			continue // not written yet
		}
		if err = get(ctx, "http://"+at["api.web_port"]+"/"); err == nil {
			return p, at, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("no page within 30 s: %w", err), p.kill())
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// caller asks an api as root.
type caller struct{ base, token string }

func (b *bench) root(at map[string]string) (*caller, error) {
	password, err := os.ReadFile(filepath.Join(b.dir, "data", "root-password"))
	if err != nil {
		return nil, err
	}
	c := &caller{base: "http://" + at["api.web_port"]}
	answer, err := c.post("/api/v1/user/login", map[string]string{"name": "root", "password": strings.TrimSpace(string(password))})
	if err != nil {
		return nil, err
	}
	var got struct{ Sig string }
	if err := json.Unmarshal(answer, &got); err != nil {
		return nil, err
	}
	token, err := json.Marshal(map[string]string{"name": "root", "sig": got.Sig})
	c.token = string(token)
	return c, err
}

func (c *caller) post(path string, body any) ([]byte, error) {
	js, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, c.base+path, bytes.NewReader(js))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Apitoken", c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, answer)
	}
	return answer, err
}

// apiHistory is the CPU of falcon up, all daemons in one process, for 12 hours of
// ten counters in one request.
func apiHistory(ctx context.Context, b *bench) (float64, string, error) {
	const counters, rounds, requests = 10, 12 * 60, 500
	p, at, err := b.up(ctx)
	if err != nil {
		return 0, "", err
	}
	v, remark, err := func() (float64, string, error) {
		c, err := b.root(at)
		if err != nil {
			return 0, "", err
		}
		f := newWorkload(counters + 1) // the first does not grow, as a counter should
		fd, err := newFeeder(ctx, f, stream.KindPoints, at["transfer.rpc.listen"])
		if err != nil {
			return 0, "", err
		}
		t0 := start(rounds)
		for r := range rounds {
			if err := fd.round(ctx, r, t0+int64(60*r)); err != nil {
				return 0, "", errors.Join(err, fd.close())
			}
		}
		if err := fd.close(); err != nil {
			return 0, "", err
		}
		in := map[string]any{
			"hostnames": []string{f.series[0].Endpoint}, "consol_fun": "AVERAGE", "start_time": t0, "end_time": t0 + 60*(rounds-1),
		}
		names := make([]string, counters)
		for i := range names {
			names[i] = f.series[i+1].Counter()
		}
		in["counters"] = names
		size, err := arrived(c, in, counters*(rounds-1))
		if err != nil {
			return 0, "", err
		}
		cpu, err := p.measured(func() error {
			for range requests {
				answer, err := c.post("/api/v1/graph/history", in)
				if err == nil && len(answer) < size {
					err = fmt.Errorf("an answer of %d bytes, %d before", len(answer), size)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		return cpu / requests * 1e3, fmt.Sprintf("%d bytes an answer", size), err
	}()
	return v, remark, errors.Join(err, p.kill())
}

// arrived waits until an answer has so many values and returns its size.
func arrived(c *caller, in any, values int) (int, error) {
	have := 0
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		answer, err := c.post("/api/v1/graph/history", in)
		if err != nil {
			return 0, err
		}
		var got []model.GraphQueryResponse
		if err := json.Unmarshal(answer, &got); err != nil {
			return 0, err
		}
		have = 0
		for _, s := range got {
			for _, v := range s.Values {
				if v.Value == v.Value {
					have++
				}
			}
		}
		if have >= values {
			return len(answer), nil
		}
	}
	return 0, fmt.Errorf("%d values after 30 s, %d were sent", have, values)
}
