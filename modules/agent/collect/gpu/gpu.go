// Package gpu collects gpu.*: temperature, memory, use, power and fans of NVIDIA cards.
//
// Stock loads NVIDIA's library into the agent, which takes cgo. The program nvidia-smi
// comes with every driver and tells the same; it is run as a child that can be killed,
// since a broken card hangs whoever asks for it.
package gpu

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"falcon/modules/agent/collect"
)

// timeout is how long nvidia-smi may take; it loads the driver when nobody else has.
const timeout = 20 * time.Second

// maxOutput bounds what is read of it: 200 cards take a hundredth.
const maxOutput = 1 << 20

// A column is one thing that nvidia-smi is asked for, and the metric it becomes.
type column struct{ field, metric string }

// columns are what is asked for beside the uuid, in stock's order.
var columns = []column{
	{"temperature.gpu", "gpu.temperature"}, // °C
	{"memory.total", "gpu.memory.total"},   // MiB
	{"memory.used", "gpu.memory.used"},     // MiB
	{"utilization.memory", memoryUse},      // %
	{"utilization.gpu", use},               // %
	{"power.draw", "gpu.power.usage"},      // W
	{"fan.speed", "gpu.fan.speed"},         // %; cards for servers have none
}

const (
	use       = "gpu.util"
	memoryUse = "gpu.memory.util"
)

// Collector runs nvidia-smi.
type Collector struct {
	program string
	timeout time.Duration
}

// New returns a collector.
func New() *Collector { return &Collector{"nvidia-smi", timeout} }

// Deadline is how long Collect may take.
func (c *Collector) Deadline() time.Duration { return c.timeout + time.Second }

// Collect returns the values of each card with its uuid as tag, and gpu.count,
// gpu.util.avg and gpu.memory.util.avg; what a card does not tell is left out. Without
// nvidia-smi there is nothing, and no error.
func (c *Collector) Collect(ctx context.Context) ([]collect.Item, error) {
	path, err := exec.LookPath(c.program)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fields := "uuid"
	for _, col := range columns {
		fields += "," + col.field
	}
	out, err := c.run(ctx, path, "--query-gpu="+fields, "--format=csv,noheader,nounits")
	if err != nil {
		return nil, err
	}
	return parse(out)
}

// run returns what the program writes. When its time is over it is killed with all of
// its children.
func (c *Collector) run(ctx context.Context, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs limited
	cmd.Env = append(os.Environ(), "LC_ALL=C") // a point in its numbers
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that went into a group of its own holds the pipe
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: killed, it has %v to answer: %w", path, c.timeout, ctx.Err())
	case out.full:
		return nil, fmt.Errorf("%s: more than %d MiB of output", path, maxOutput>>20)
	case err != nil && none(out.Bytes()):
		return out.Bytes(), nil // it then exits with 6
	case err != nil:
		// What is wrong with the driver stands in its standard output.
		return nil, fmt.Errorf("%s: %w: %s", path, err, strings.Join(strings.Fields(out.String()+" "+errs.String()), " "))
	}
	return out.Bytes(), nil
}

// none says whether nvidia-smi has found no card, in its words.
func none(out []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(out), []byte("No devices were found"))
}

// parse reads a line for each card: its uuid and the columns. A line that is none costs
// that card only.
func parse(out []byte) ([]collect.Item, error) {
	if none(out) {
		return []collect.Item{collect.G("gpu.count", 0)}, nil
	}
	r := csv.NewReader(bytes.NewReader(out))
	r.TrimLeadingSpace, r.LazyQuotes, r.FieldsPerRecord = true, true, -1
	var items []collect.Item
	var errs []error
	cards := 0
	uses, memoryUses := average{}, average{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("nvidia-smi: %w", err))
			break
		}
		if len(row) != len(columns)+1 || row[0] == "" {
			errs = append(errs, fmt.Errorf("nvidia-smi: %q is not a uuid and %d values", strings.Join(row, ", "), len(columns)))
			continue
		}
		cards++
		for i, col := range columns {
			// Not a number: N/A, [N/A], [Not Supported], [Unknown Error], ERR!
			v, err := strconv.ParseFloat(strings.TrimSpace(row[i+1]), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			items = append(items, collect.G(col.metric, v, "uuid", tag.Replace(strings.TrimSpace(row[0]))))
			switch col.metric {
			case use:
				uses.add(v)
			case memoryUse:
				memoryUses.add(v)
			}
		}
	}
	if cards == 0 {
		return nil, errors.Join(append(errs, errors.New("nvidia-smi names no card"))...)
	}
	items = append(items, collect.G("gpu.count", float64(cards)))
	items = append(items, uses.item("gpu.util.avg")...)
	items = append(items, memoryUses.item("gpu.memory.util.avg")...)
	return items, errors.Join(errs...)
}

// tag makes a value of a tag of what was meant to be one.
var tag = strings.NewReplacer(" ", "_", ",", "_", "=", "_", "\n", "_", "\r", "_")

// An average of whole numbers is a whole number, as in stock; nothing has none.
type average struct{ sum, n float64 }

func (a *average) add(v float64) { a.sum, a.n = a.sum+v, a.n+1 }

func (a *average) item(metric string) []collect.Item {
	if a.n == 0 {
		return nil
	}
	return []collect.Item{collect.G(metric, math.Floor(a.sum/a.n))}
}

// limited keeps the first maxOutput bytes.
type limited struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no bounds
	full bool
}

func (l *limited) Write(b []byte) (int, error) {
	n := len(b)
	if room := maxOutput - l.kept.Len(); n > room {
		b, l.full = b[:room], true
	}
	l.kept.Write(b)
	return n, nil
}

func (l *limited) Bytes() []byte  { return l.kept.Bytes() }
func (l *limited) String() string { return l.kept.String() }
