package nodata

import (
	"maps"
	"math"
	"slices"
	"strings"

	"falcon/common/model"
	"falcon/common/portal"
)

// What the obj of a row names.
const (
	ofGroup = "group" // groups of hosts
	ofHost  = "host"  // endpoints, as other does
)

// A Series is watched, and gets a mock value while it is silent.
type Series struct {
	Row      int64 // the id of its row in mockcfg
	Name     string
	ObjType  string
	Endpoint string
	Metric   string
	Tags     string // sorted, k=v,k=v
	Type     string
	Step     int64 // seconds
	Mock     float64
}

// Counter returns metric/tags.
func (s *Series) Counter() string { return model.CounterOf(s.Metric, s.Tags) }

// usable says whether a row is one that stock looks at, and its value a number.
func usable(row *portal.Nodata) bool {
	return row.Metric != "" && row.DsType == model.Gauge && row.Step >= 1 && !math.IsNaN(row.Mock) && !math.IsInf(row.Mock, 0)
}

// groups returns the names of the groups that usable rows name, each once and in order.
func groups(rows []portal.Nodata) []string {
	all := map[string]bool{}
	for i := range rows {
		if usable(&rows[i]) && rows[i].ObjType == ofGroup {
			for _, name := range names(rows[i].Obj) {
				all[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// names reads the obj of a row: a name a line.
func names(obj string) (all []string) {
	for line := range strings.Lines(obj) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// expand returns the series of rows by their keys (model.PK), and how many rows are set
// aside. members are the endpoints of groups. Of two rows for one series that of a host
// beats that of a group; otherwise the earlier one stays.
func expand(rows []portal.Nodata, members map[string][]string) (all map[string]Series, unusable int) {
	all = map[string]Series{}
	for i := range rows {
		row := &rows[i]
		if !usable(row) {
			unusable++
			continue
		}
		endpoints := names(row.Obj)
		if row.ObjType == ofGroup {
			var hosts []string
			for _, group := range endpoints {
				hosts = append(hosts, members[group]...)
			}
			endpoints = hosts
		}
		tags := model.NormalTags(row.Tags)
		for _, endpoint := range endpoints {
			key := model.PK(endpoint, row.Metric, tags)
			if there, ok := all[key]; ok && (there.ObjType != ofGroup || row.ObjType != ofHost) {
				continue
			}
			all[key] = Series{
				Row: row.ID, Name: row.Name, ObjType: row.ObjType, Endpoint: endpoint, Metric: row.Metric, Tags: tags,
				Type: row.DsType, Step: int64(row.Step), Mock: row.Mock,
			}
		}
	}
	return all, unusable
}
