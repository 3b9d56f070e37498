package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"falcon/common/failpoint"
	"falcon/common/run"
)

const (
	// stall is how long a download may bring nothing.
	stall = 30 * time.Second
	// fetchTries is how often it is taken up again, and fetchBusy how often the server may
	// say that it is busy, as one does that serves so many agents at a time.
	fetchTries = 5
	fetchBusy  = 60
	fetchPause = 2 * time.Second
	// maxSignature bounds a .minisig file, in bytes.
	maxSignature = 4 << 10
)

// downloads fetches files with a bound on their size and on the rate.
type downloads struct {
	client *http.Client
	rate   int64 // bytes a second; 0: unbounded
	max    int64 // bytes of a file
	pause  time.Duration
}

func newDownloads(rate, max int64) *downloads {
	return &downloads{
		rate: rate, max: max, pause: fetchPause,
		client: &http.Client{Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: stall, DisableKeepAlives: true, DisableCompression: true, Proxy: http.ProxyFromEnvironment,
		}},
	}
}

// errFinal marks what another try does not mend, errBusy what patience does.
var errFinal, errBusy = errors.New(""), errors.New("")

func final(format string, args ...any) error {
	return fmt.Errorf(format+"%w", append(args, errFinal)...)
}

// fetch downloads url to path. What is there already is gone on from.
func (d *downloads) fetch(ctx context.Context, url, path string) (err error) {
	for tries, busy := 0, 0; tries < fetchTries && busy < fetchBusy; {
		// Not all who were sent away come back at once.
		wait := d.pause * time.Duration(min(tries+busy, 5))
		if wait > 0 && !run.Sleep(ctx, wait/2+rand.N(wait)) {
			break
		}
		if err = d.once(ctx, url, path); err == nil || errors.Is(err, errFinal) || ctx.Err() != nil {
			break
		}
		if errors.Is(err, errBusy) {
			busy++
		} else {
			tries++
		}
	}
	if err != nil {
		return fmt.Errorf("download %s: %w", url, err)
	}
	return ctx.Err()
}

func (d *downloads) once(ctx context.Context, url, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return final("%w", err)
	}
	defer f.Close()
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return final("%w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer stalled.Stop()
	resp, err := d.get(ctx, url, at)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at)):
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && at > 0, resp.StatusCode == http.StatusPartialContent:
		// From the beginning: what is here is of another file, or whole already, which the
		// checksum knows better.
		if err := f.Truncate(0); err != nil {
			return final("%w", err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return final("%w", err)
		}
		at = 0
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("status %s%w", resp.Status, errBusy)
	default:
		return final("status %s", resp.Status)
	}
	if resp.ContentLength > 0 && at+resp.ContentLength > d.max {
		return final("it has %d bytes, more than upgrade.max_size", at+resp.ContentLength)
	}
	if err := d.copy(ctx, f, resp.Body, d.max-at, func() { stalled.Reset(stall) }); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return final("%w", err)
	}
	return nil
}

func (d *downloads) get(ctx context.Context, url string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, final("%w", err)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return d.client.Do(req)
}

// copy copies at the rate that is allowed, room bytes at most.
func (d *downloads) copy(ctx context.Context, w io.Writer, r io.Reader, room int64, news func()) error {
	began, done := time.Now(), int64(0)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			news()
			if done += int64(n); done > room {
				return final("it has more bytes than upgrade.max_size allows")
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return final("%w", err) // a full disk is no better in a moment
			}
			failpoint.Reached("upgrade.downloading")
			if d.rate > 0 {
				due := time.Duration(float64(done) / float64(d.rate) * float64(time.Second))
				if !run.Sleep(ctx, due-time.Since(began)) {
					return ctx.Err()
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// text fetches a small file.
func (d *downloads) text(ctx context.Context, url string) (string, error) {
	resp, err := d.get(ctx, url, 0)
	if err != nil {
		return "", fmt.Errorf("download %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("download %s: status %s", url, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSignature))
	return string(b), err
}

// isBusy says whether a program can not be started since somebody still has it open for
// writing, as a child of ours has between its fork and its exec.
func isBusy(err error) bool { return errors.Is(err, syscall.ETXTBSY) }
