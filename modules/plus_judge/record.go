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
//	{"ack": id, "undo": bool}               somebody works on it, or does not after all
//	{"epoch": name}                         the memory of Redis that has the events so far
type record struct {
	Series *model.Event `json:"series,omitempty"`
	Told   *model.Event `json:"told,omitempty"`
	Seq    uint64       `json:"seq,omitempty"`
	At     int64        `json:"at,omitempty"` // Unix seconds
	// Done says of a told event that Redis has it, in snapshots.
	Done   bool     `json:"done,omitempty"`
	Acked  bool     `json:"acked,omitempty"`
	Pushed []uint64 `json:"pushed,omitempty"`
	Ack    string   `json:"ack,omitempty"`
	Undo   bool     `json:"undo,omitempty"` // it is told again
	Epoch  string   `json:"epoch,omitempty"`
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
