package judge

import (
	"context"
	"time"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/rpc"
)

// wrongText says what is wrong with the value of a series of texts, "" for nothing.
func wrongText(text string) string {
	switch {
	case text == "":
		return model.ReasonNoValue
	case len(text) > model.MaxText:
		return model.ReasonTooLong
	}
	return ""
}

// sendTexts is StringJudge.Send: points of texts from a transfer that names the series
// with each point. It answers once the journal has them; what is wrong with an item is
// counted and keeps nobody back.
func (j *Judge) sendTexts(_ context.Context, _ *rpc.Conn, items *[]*model.StringItem) (*model.SimpleRpcResponse, error) {
	if err := j.busy(); err != nil {
		return nil, err
	}
	began := time.Now()
	now := j.now().Unix()
	j.received.Add(len(*items))
	b, committed := j.begin(), false
	defer b.abandon(&committed)
	filtered := 0
	for _, it := range *items {
		if reason := j.refuseText(it, now); reason != "" {
			j.invalid.Add(reason, 1)
			continue
		}
		named := &model.JudgeItem{Endpoint: it.Endpoint, Metric: it.Metric, JudgeType: model.Gauge, Tags: it.Tags}
		what := lost
		for what == lost { // between the finding and the adding it may be forgotten
			what = nobodys
			if e := j.table.findItem(named, true, j.inForce.Load(), now); e != nil {
				what = b.put(e, expr.Point{Ts: it.Timestamp}, it.Value, "", now)
			}
		}
		if what == nobodys {
			filtered++
		}
	}
	committed = true
	err := b.commit()
	j.filtered.Add(filtered)
	j.took.Store(int64(time.Since(began)))
	if err != nil {
		return nil, err
	}
	return &model.SimpleRpcResponse{}, nil
}

// refuseText says what is wrong with an item, "" for nothing.
func (j *Judge) refuseText(it *model.StringItem, now int64) string {
	if it == nil {
		return model.ReasonNull
	}
	if reason := j.refuse(&model.JudgeItem{Endpoint: it.Endpoint, Metric: it.Metric, Tags: it.Tags, JudgeType: model.Gauge, Timestamp: it.Timestamp}, now); reason != "" {
		return reason
	}
	return wrongText(it.Value)
}
