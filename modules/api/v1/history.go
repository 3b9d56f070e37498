package v1

import (
	"slices"

	"falcon/common/model"
	"falcon/modules/api/graphs"
)

type historyInput struct {
	Hostnames []string `json:"hostnames" form:"hostnames" xml:"hostnames"`
	Counters  []string `json:"counters" form:"counters" xml:"counters"`
	ConsolFun string   `json:"consol_fun" form:"consol_fun" xml:"consol_fun"`
	Start     int64    `json:"start_time" form:"start_time" xml:"start_time"`
	End       int64    `json:"end_time" form:"end_time" xml:"end_time"`
	Step      int      `json:"step" form:"step" xml:"step"`
}

func (in *historyInput) check(maxPairs int) error {
	switch {
	case in.Hostnames == nil:
		return bad("hostnames is required")
	case in.Counters == nil:
		return bad("counters is required")
	case in.ConsolFun == "":
		return bad("consol_fun is required: AVERAGE, MAX or MIN")
	case in.Start == 0:
		return bad("start_time is required, in Unix seconds")
	case in.End == 0:
		return bad("end_time is required, in Unix seconds")
	case in.End < in.Start:
		return bad("end_time %d is before start_time %d", in.End, in.Start)
	}
	return pairs(len(in.Hostnames), len(in.Counters), maxPairs)
}

// pairs refuses a cross product that is too large.
func pairs(a, b, limit int) error {
	if a > 0 && b > limit/a {
		return bad("%d endpoints with %d counters each are more than %d series: ask for fewer at a time", a, b, limit)
	}
	return nil
}

// history answers the points of every counter of every host, host by host. A
// series that is unknown is left out; with a step given it is there, empty, as in
// stock. One whose graph node did not answer is there and empty too, and the node
// is named in X-Falcon-Partial.
func (s *server) history(c *Call) (any, error) {
	var in historyInput
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := in.check(s.MaxPairs); err != nil {
		return nil, err
	}
	queries := make([]*model.GraphQueryParam, 0, len(in.Hostnames)*len(in.Counters))
	for _, host := range in.Hostnames {
		for _, counter := range in.Counters {
			queries = append(queries, &model.GraphQueryParam{
				Start: in.Start, End: in.End, ConsolFun: in.ConsolFun, Endpoint: host, Counter: counter, Step: in.Step,
			})
		}
	}
	return s.answerHistory(c, &in, queries)
}

// answerHistory asks for series and writes the answer.
func (s *server) answerHistory(c *Call, in *historyInput, queries []*model.GraphQueryParam) (any, error) {
	// A part at a time, so that only its points and the text of the others are
	// in memory.
	buf, _ := s.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	h := historyWriter{in: in, dst: (*buf)[:0]}
	defer func() {
		// c keeps it until the answer is written.
		*buf = h.dst
		c.buffer = buf
	}()
	var failed []string
	for part := range slices.Chunk(queries, historyPart) {
		answers, away := s.Graphs.QueryBatch(c.Ctx(), part)
		failed = append(failed, away...)
		h.write(part, answers)
		if len(h.dst) > s.MaxAnswer {
			return nil, bad("the answer is larger than %d MiB: ask for fewer series, or a shorter time", s.MaxAnswer>>20)
		}
	}
	s.partial(c, normal(failed))
	s.counts.points.Add(h.points)
	return rawJSON(h.end()), nil
}

// historyPart is how many series are asked for at a time.
const historyPart = 500

// A historyWriter writes the answer as the parts of it come in.
type historyWriter struct {
	in     *historyInput
	dst    []byte
	points int
}

func (h *historyWriter) write(queries []*model.GraphQueryParam, answers []*graphs.Series) {
	for i, a := range answers {
		q := queries[i]
		switch {
		case a == nil:
			a = &graphs.Series{}
		case a.DsType == "" && len(a.Values) == 0:
			if h.in.Step == 0 {
				continue
			}
			a.Step = 0
		}
		// A graph answers the names that it was asked for; one that burnt the
		// call answers none.
		a.Endpoint, a.Counter = q.Endpoint, q.Counter
		a.Values = clip(a.Values, h.in.Start, h.in.End)
		h.points += len(a.Values)
		h.dst = append(h.dst, ',')
		h.dst = appendSeries(h.dst, a)
	}
}

// end returns the whole array.
func (h *historyWriter) end() []byte {
	if len(h.dst) == 0 {
		return []byte("[]")
	}
	h.dst[0] = '['
	h.dst = append(h.dst, ']')
	return h.dst
}

// clip keeps the points from start to end. They are in order, as all graphs
// answer them.
func clip(points []model.RRDData, start, end int64) []model.RRDData {
	for len(points) > 0 && points[0].Timestamp < start {
		points = points[1:]
	}
	for len(points) > 0 && points[len(points)-1].Timestamp > end {
		points = points[:len(points)-1]
	}
	return points
}

// lastPoint answers the newest point of each series, in order. Those whose graph
// did not answer are left out.
func (s *server) lastPoint(c *Call) (any, error) {
	var in []*model.GraphLastParam
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	in = slices.DeleteFunc(in, func(p *model.GraphLastParam) bool { return p == nil })
	if len(in) > s.MaxPairs {
		return nil, bad("%d series are more than %d: ask for fewer at a time", len(in), s.MaxPairs)
	}
	answers, failed := s.Graphs.LastBatch(c.Ctx(), in)
	s.partial(c, failed)
	kept := answers[:0]
	for i, a := range answers {
		if a == nil {
			continue
		}
		a.Endpoint, a.Counter = in[i].Endpoint, in[i].Counter
		if a.Value == nil {
			a.Value = &model.RRDData{} // timestamp 0 says: no data
		}
		kept = append(kept, a)
	}
	return kept, nil
}

// infoAnswer is the fork's GraphFullyInfo.
type infoAnswer struct {
	Endpoint  string `json:"endpoint"`
	Counter   string `json:"counter"`
	ConsolFun string `json:"consolFun"` // carries the type
	Step      int    `json:"step"`
	Filename  string `json:"filename"`
	Addr      string `json:"addr"`
}

func (s *server) graphInfo(c *Call) (any, error) {
	var in struct {
		Endpoint string `json:"endpoint" form:"endpoint" xml:"endpoint"`
		Counter  string `json:"counter" form:"counter" xml:"counter"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	if err := required("endpoint", in.Endpoint, "counter", in.Counter); err != nil {
		return nil, err
	}
	info, addr, err := s.Graphs.Info(c.Ctx(), model.GraphInfoParam{Endpoint: in.Endpoint, Counter: in.Counter})
	if err != nil {
		s.Log.Warn("graph node did not answer", "endpoint", in.Endpoint, "metric", in.Counter, "err", err)
		return nil, bad("the graph node that holds the series did not answer")
	}
	return infoAnswer{in.Endpoint, in.Counter, info.ConsolFun, info.Step, info.Filename, addr}, nil
}
