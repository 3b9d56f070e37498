// Package tsdbtest makes the load that the engine is measured with: hosts of 200
// series each, whose kinds have the shares of what a stock agent reports. It is for
// tests and benchmarks only.
package tsdbtest

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"falcon/common/model"
)

// PerHost is how many series a host has.
const PerHost = 200

// Kinds of series.
const (
	constant = iota
	intGauge
	largeCounter
	smallCounter
	noisyPercent
	slowPercent
	twoDecimals
	threeDecimals
	kinds
)

// share is the per mille of each kind.
var share = [kinds]int{360, 160, 140, 120, 90, 40, 50, 40}

// A Load is a set of series and their values over time. Values must be asked for
// in the order of time.
type Load struct {
	Step   int
	series []series
}

type series struct {
	kind  uint8
	state float64
	level float64
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

func unit(r uint64) float64 { return float64(r>>11) / (1 << 53) }

// New makes n series with a step in seconds.
func New(n, step int) *Load {
	var byShare [1000]uint8
	i := 0
	for k, s := range share {
		for range s {
			byShare[i] = uint8(k)
			i++
		}
	}
	l := &Load{Step: step, series: make([]series, n)}
	for i := range l.series {
		s := &l.series[i]
		s.kind = byShare[(i%PerHost*5+2)%1000]
		r := mix(uint64(i) + 1)
		u := unit(r)
		switch s.kind {
		case constant:
			if u < .8 {
				s.state = math.Floor(u + .4)
			} else {
				s.state = float64(r % (1 << 40))
			}
		case intGauge:
			s.state = float64((r % (1 << 24)) * 4096)
			if r&(1<<60) != 0 {
				s.state = float64(r % 3000)
			}
		case largeCounter:
			s.level = math.Exp(u * 18)
			s.state = float64(r % (1 << 45))
		case smallCounter:
			s.level = float64(r%40) + 1
			s.state = float64(r % (1 << 30))
		case noisyPercent:
			s.level = u * u
		case slowPercent:
			s.level = float64(r%(1<<38) + 1<<30)
			s.state = math.Floor(s.level * u)
		case twoDecimals:
			s.state = u * 8
		case threeDecimals:
			s.level = u * 200
		}
	}
	return l
}

// Len returns the number of series.
func (l *Load) Len() int { return len(l.series) }

// Def names series i.
func (l *Load) Def(i int) (endpoint, counter, kind string) {
	host, c := i/PerHost, i%PerHost
	endpoint = fmt.Sprintf("idc%02d-app%03d-node%05d", host%7, host%311, host)
	families := [...]string{"cpu.", "mem.", "df.bytes.", "disk.io.", "net.if.in.", "net.if.out.", "TcpExt.", "ss.", "app.http.", "kernel."}
	counter = families[c%len(families)] + "metric" + strconv.Itoa(c)
	switch c % 4 {
	case 1:
		counter += fmt.Sprintf("/device=sd%c", 'a'+c%5)
	case 2:
		counter += fmt.Sprintf("/fstype=ext4,mount=/data%d", c%6)
	case 3:
		counter += fmt.Sprintf("/iface=eth%d", c%3)
	}
	kind = model.Gauge
	if k := l.series[i].kind; k == largeCounter || k == smallCounter {
		kind = model.Derive
	}
	return endpoint, counter, kind
}

// Value returns the value of series i at t, one step after the last.
func (l *Load) Value(i int, t int64) float64 {
	s := &l.series[i]
	r := mix(uint64(i)<<32 ^ uint64(t)*0x9e3779b1)
	u := unit(r)
	switch s.kind {
	case constant:
	case intGauge:
		if r&1 == 0 {
			d := float64(int64(r>>8&31) - 15)
			if s.state > 1e5 {
				d *= 4096
			}
			s.state = max(0, s.state+d)
		}
	case largeCounter:
		day := 1 + .5*math.Sin(float64(t%86400)/86400*2*math.Pi)
		s.state += math.Floor(s.level * day * (.7 + .6*u) * float64(l.Step))
	case smallCounter:
		if r>>60 >= 6 {
			s.state += math.Floor(s.level * u)
		}
	case noisyPercent:
		total := float64(24000 + int(r>>3&15))
		return 100 * math.Floor(total*math.Min(1, s.level*(.8+.4*u))) / total
	case slowPercent:
		if r%10 == 0 {
			s.state += float64(int64(r>>20&0xffff)-0x7000) * 4096
			if s.state < 0 || s.state > s.level {
				s.state = s.level / 2
			}
		}
		return 100 * s.state / s.level
	case twoDecimals:
		s.state = max(0, s.state+(u-.5)*.2)
		return math.Round(s.state*100) / 100
	default:
		return math.Round(s.level*(.8+.4*u)*1000) / 1000
	}
	return s.state
}

// Size returns how many series a benchmark takes: FALCON_BENCH_SERIES, else n.
func Size(n int) int {
	if v, err := strconv.Atoi(os.Getenv("FALCON_BENCH_SERIES")); err == nil && v > 0 {
		return v
	}
	return n
}
