package hbs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"falcon/common/portal"
	"falcon/common/rulebook"
)

// What an hbs publishes is what it compiled from: the rows and the moment. Compiling is
// pure, so every hbs comes to the same book, and has what only rows tell beside it:
// plugins, what agents collect on demand, the reason for each rule of a host.

// rowsFormat is of what is published. An hbs that meets another one reads the rows for
// itself: releases may run side by side.
const rowsFormat = 1

// published is the form of it: JSON, compressed as books are.
type published struct {
	Format int              `json:"format"`
	At     time.Time        `json:"at"` // in the time zone of hours
	Rows   *portal.RuleRows `json:"rows"`
}

// seal names what is published of e after its content. When that is what old has
// published, apart from the moment, it is old's.
func (e *edition) seal(rows *portal.RuleRows, old *edition) {
	body, err := json.Marshal(rows)
	if err != nil {
		panic(err) // texts and numbers can be written
	}
	h := sha256.New()
	h.Write(e.version[:])
	h.Write(body)
	e.name = hex.EncodeToString(h.Sum(nil)[:16])
	at := e.at
	e.body = sync.OnceValue(func() []byte {
		whole, err := json.Marshal(published{rowsFormat, at, rows})
		if err != nil {
			panic(err)
		}
		return rulebook.Pack(whole)
	})
	if old != nil && old.name == e.name && old.body != nil {
		e.body = old.body
	}
}

// unpackRows reads what an hbs published under a name.
func unpackRows(body []byte, name string) (*portal.RuleRows, time.Time, error) {
	whole, err := rulebook.Unpack(body)
	if err != nil {
		return nil, time.Time{}, err
	}
	var p published
	if err := json.Unmarshal(whole, &p); err != nil {
		return nil, time.Time{}, err
	}
	if p.Format != rowsFormat || p.Rows == nil {
		return nil, time.Time{}, fmt.Errorf("format %d is not known here: another release published it", p.Format)
	}
	if p.At.IsZero() {
		return nil, time.Time{}, errors.New("they have no time")
	}
	return p.Rows, p.At, nil
}
