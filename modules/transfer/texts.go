package transfer

import (
	"context"
	"fmt"
	"slices"

	"falcon/common/model"
	"falcon/common/stream"
)

// kindStringJudge is the kind of outlet of judges of texts. On the wire they are judges.
const kindStringJudge = "string_judge"

// maxText is the longest value of a series of texts, in bytes.
const maxText = model.MaxText

// wireKind is what an outlet's stream says it is for.
func wireKind(kind string) string {
	if kind == kindStringJudge {
		return stream.KindJudge
	}
	return kind
}

// judges says whether the outlet's peer judges: a verdict on old points helps nobody.
func (o *outlet) judges() bool { return wireKind(o.kind) == stream.KindJudge }

// judgeOf returns the judges of numbers or of texts.
func (t *Transfer) judgeOf(texts bool) *cluster {
	if texts && t.stringJudge != nil {
		return t.stringJudge
	}
	return t.judge
}

// sendTexts sends points of texts to a judge that knows no streams.
func (p *stockPeer) sendTexts(ctx context.Context, points []stream.Point) error {
	for part := range slices.Chunk(points, p.batch) {
		items := make([]*model.StringItem, 0, len(part))
		for _, pt := range part {
			s := p.series(pt.Handle)
			if s == nil || !s.Text {
				continue
			}
			items = append(items, &model.StringItem{
				Endpoint: s.Endpoint, Metric: s.Metric, Value: pt.Text, Timestamp: pt.Time, Tags: model.ParseTags(s.Tags),
			})
		}
		var resp model.SimpleRpcResponse
		if err := p.client.Call(ctx, "StringJudge.Send", &items, &resp); err != nil {
			return fmt.Errorf("send %d points to string judge %s: %w", len(items), p.addr, err)
		}
	}
	return nil
}
