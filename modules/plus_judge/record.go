package plusjudge

import (
	"encoding/json"
	"errors"

	"falcon/common/model"
)

// A record of the journal is one change, as JSON: what comes here are some events a
// second, and a person may have to read them.
//
//	{"series": event, "at": t}              a condition begins or ends
//	{"told": event, "seq": n, "at": t, …}   what was told
//	{"pushed": [n, …]}                      Redis has them
//	{"ack": id, "by": name, "acked_at": t}  somebody works on it; with "undo" not after all
//	{"epoch": name}                         the memory of Redis that has the events so far
type record struct {
	Series *model.Event `json:"series,omitempty"`
	Told   *model.Event `json:"told,omitempty"`
	Seq    uint64       `json:"seq,omitempty"`
	At     int64        `json:"at,omitempty"` // Unix seconds
	// Done says of a told event that Redis has it, in snapshots.
	Done   bool     `json:"done,omitempty"`
	Recent bool     `json:"recent,omitempty"` // and may lose it
	Pushed []uint64 `json:"pushed,omitempty"`
	Ack    string   `json:"ack,omitempty"`
	Undo   bool     `json:"undo,omitempty"` // it is told again
	// Acked says of a told event that somebody works on it, in snapshots; By and AckedAt
	// who does, and since when, Unix seconds.
	Acked   bool   `json:"acked,omitempty"`
	By      string `json:"by,omitempty"`
	AckedAt int64  `json:"acked_at,omitempty"`
	Epoch   string `json:"epoch,omitempty"`
}

// acked returns who works on it, nil for nobody.
func (r *record) acked() *Acked {
	if r.Undo || r.Ack == "" && !r.Acked {
		return nil
	}
	return &Acked{r.By, r.AckedAt}
}

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

var errRecord = errors.New("the record is damaged or of another release")

// decode reads a record; an event in it can be kept.
func decode(b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, errRecord
	}
	if r.Series != nil && Refuse(r.Series, r.Series.EventTime, 0) != "" {
		return nil, errRecord
	}
	if e := r.Told; e != nil && (e.Strategy == nil || e.Strategy.Serial() == "" || e.Strategy.MultiCount < 2 || r.Seq == 0) {
		return nil, errRecord
	}
	return r, nil
}
