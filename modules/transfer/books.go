package transfer

// books is the account of one destination.
type books struct {
	Kind     string `json:"kind"`
	Node     string `json:"node"`
	Addr     string `json:"addr"`
	State    string `json:"state"`
	Received int64  `json:"received"`
	AtStart  int64  `json:"spool_at_start"`

	Delivered int64            `json:"delivered"`
	Refused   map[string]int64 `json:"refused"`
	Muted     int64            `json:"muted"`
	PassedOn  int64            `json:"passed_on"` // to judges that stood in for this one
	Stale     int64            `json:"stale"`
	Dropped   int64            `json:"dropped"`
	Damaged   int64            `json:"damaged"`
	Spooled   int64            `json:"spooled"`
	InFlight  int64            `json:"in_flight"`
}

// account returns the books of this moment.
func (o *outlet) account() books {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.spool.Stats()
	return books{
		Kind: o.kind, Node: o.node, Addr: o.addr, State: o.snd.State().String(),
		Received: o.received.Get(), AtStart: st.Start,
		Delivered: o.delivered.Get(), Refused: o.refused.All(), Muted: o.muted.Get(), PassedOn: o.passed.Get(),
		// The spool drops what is stale or makes room, and what can not be decoded.
		Stale: st.Dropped - o.undecodable.Get(), Dropped: o.released.Get() + o.undecodable.Get(), Damaged: st.Damaged, Spooled: st.Held, InFlight: o.inFlight,
	}
}

// missing returns how many points the books can not account for: 0, but for what
// moves while they are read.
func (b *books) missing() int64 {
	out := b.Delivered + b.Muted + b.PassedOn + b.Stale + b.Dropped + b.Damaged + b.Spooled + b.InFlight
	for _, n := range b.Refused {
		out += n
	}
	return b.Received + b.AtStart - out
}
