package rpc

import (
	"bytes"
	"errors"
)

// A span is a piece of a message, as offsets from its first byte; 0,0 is none.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }
func (s span) some() bool         { return s.to > s.from }

const maxJSONDepth = 512

var errJSON = errors.New("broken JSON")

// What may come next.
const (
	wantValue = iota
	wantValueOrEnd
	wantKey
	wantKeyOrEnd
	wantColon
	wantCommaOrEnd
)

// A jsonScan finds the end of one JSON object in bytes that arrive piece by piece,
// refuses broken syntax at once, and notes where the parts of a request or reply
// are. It steps from token to token, not from byte to byte, and never looks at a
// byte twice, however often it has to wait. Escapes and control characters in
// strings are left for the decoder to refuse.
type jsonScan struct {
	pos     int  // all before it is understood
	want    int  // see above
	inStr   bool // pos is inside a string
	strKey  bool // and that string is a key
	depth   int
	objects [maxJSONDepth/64 + 1]uint64 // bit d: level d is an object
	start   int                         // of the string, or of the value at depth 1 or of the first parameter
	key     span                        // newest key at depth 1, quotes included
	valueAt int                         // where the value of key begins
	firstAt int                         // where params[0] begins

	method, id, result, errText span
	params, argument            span // argument is params[0]
	first                       span // element of the newest array at depth 2
}

// reset prepares for the next object.
func (s *jsonScan) reset() { *s = jsonScan{} }

// run continues with b, the whole message so far, and reports whether the object
// is complete; then pos is its length.
func (s *jsonScan) run(b []byte) (done bool, err error) {
	for {
		if s.inStr {
			if !s.finishString(b) {
				return false, nil
			}
			continue
		}
		for s.pos < len(b) && isJSONSpace(b[s.pos]) {
			s.pos++
		}
		if s.pos == len(b) {
			return false, nil
		}
		c := b[s.pos]
		switch s.want {
		case wantValueOrEnd:
			if c == ']' {
				s.close()
				s.valueEnds(b)
				continue
			}
			fallthrough
		case wantValue:
			s.valueBegins()
			switch {
			case s.depth == 0 && c != '{':
				return false, errJSON
			case c == '{' || c == '[':
				if s.depth+1 >= maxJSONDepth {
					return false, errJSON
				}
				s.depth++
				s.pos++
				bit := uint64(1) << (s.depth % 64)
				if c == '{' {
					s.objects[s.depth/64] |= bit
					s.want = wantKeyOrEnd
				} else {
					s.objects[s.depth/64] &^= bit
					s.want = wantValueOrEnd
					if s.depth == 2 {
						s.first = span{}
					}
				}
			case c == '"':
				s.start, s.inStr, s.strKey = s.pos, true, false
				s.pos++
			default:
				n, ok := literal(b[s.pos:])
				if !ok {
					return false, errJSON
				}
				if n == 0 {
					return false, nil // it may go on in the next piece
				}
				s.pos += n
				s.valueEnds(b)
			}
		case wantKeyOrEnd, wantKey:
			switch {
			case c == '"':
				s.start, s.inStr, s.strKey = s.pos, true, true
				s.pos++
			case c == '}' && s.want == wantKeyOrEnd:
				if s.close(); s.depth == 0 {
					return true, nil
				}
				s.valueEnds(b)
			default:
				return false, errJSON
			}
		case wantColon:
			if c != ':' {
				return false, errJSON
			}
			s.pos++
			s.want = wantValue
		case wantCommaOrEnd:
			object := s.inObject()
			switch {
			case c == ',':
				s.pos++
				if s.want = wantValue; object {
					s.want = wantKey
				}
			case c == '}' && object, c == ']' && !object:
				if s.close(); s.depth == 0 {
					return true, nil // the top level is an object
				}
				s.valueEnds(b)
			default:
				return false, errJSON
			}
		}
	}
}

func (s *jsonScan) inObject() bool { return s.objects[s.depth/64]&(1<<(s.depth%64)) != 0 }

// close leaves the innermost array or object.
func (s *jsonScan) close() {
	s.pos++
	s.depth--
	s.want = wantCommaOrEnd
}

// finishString goes to the end of the string that pos is in, or as far as b does.
func (s *jsonScan) finishString(b []byte) bool {
	for {
		// Most strings are short, and the call costs more than they do.
		i, short := -1, b[s.pos:min(s.pos+16, len(b))]
		for n, c := range short {
			if c == '"' {
				i = n
				break
			}
		}
		if i < 0 {
			if i = bytes.IndexByte(b[s.pos+len(short):], '"'); i >= 0 {
				i += len(short)
			}
		}
		if i < 0 {
			// Stop in front of a backslash whose escaped byte is not here yet.
			s.pos = len(b) - backslashes(b[s.pos:])%2
			return false
		}
		text := b[s.pos : s.pos+i]
		s.pos += i + 1
		if len(text) == 0 || text[len(text)-1] != '\\' || backslashes(text)%2 == 0 {
			break
		}
	}
	s.inStr = false
	if s.strKey {
		if s.depth == 1 {
			s.key = span{s.start, s.pos}
		}
		s.want = wantColon
		if s.pos < len(b) && b[s.pos] == ':' { // nearly always: save a round
			s.pos++
			s.want = wantValue
		}
		return true
	}
	s.valueEnds(b)
	return true
}

// backslashes returns how many b ends with.
func backslashes(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n
}

func (s *jsonScan) valueBegins() {
	switch s.depth {
	case 1:
		s.valueAt = s.pos
	case 2:
		if s.want == wantValueOrEnd {
			s.firstAt = s.pos
		}
	}
}

// valueEnds is called when a value has just ended at pos.
func (s *jsonScan) valueEnds(b []byte) {
	s.want = wantCommaOrEnd
	switch s.depth {
	case 1:
		s.noteKey(b)
	case 2:
		if !s.inObject() && !s.first.some() {
			s.first = span{s.firstAt, s.pos}
		}
	}
	if s.pos < len(b) && b[s.pos] == ',' { // nearly always: save a round
		s.pos++
		if s.want = wantValue; s.inObject() {
			s.want = wantKey
		}
	}
}

// noteKey files the value of the newest key at depth 1 under its name; as in
// encoding/json the case of a key does not matter and the last of two wins.
func (s *jsonScan) noteKey(b []byte) {
	name := s.key.of(b)
	value := span{s.valueAt, s.pos}
	switch {
	case len(name) < 4: // "" and the like; "id" has four bytes with its quotes
	case bytes.EqualFold(name, []byte(`"params"`)):
		s.params = value
		if b[value.from] != '[' {
			s.first = span{}
		}
		s.argument = s.first
	case bytes.EqualFold(name, []byte(`"method"`)):
		s.method = value
	case bytes.EqualFold(name, []byte(`"id"`)):
		s.id = value
	case bytes.EqualFold(name, []byte(`"result"`)):
		s.result = value
	case bytes.EqualFold(name, []byte(`"error"`)):
		s.errText = value
	}
}

const maxNumber = 1 << 10 // bytes; no number anybody means is longer

// literal returns the length of the number, true, false or null that b begins
// with, 0 when b may be only the beginning of it, and false when it is none.
func literal(b []byte) (n int, ok bool) {
	switch b[0] {
	case 't':
		return word(b, "true")
	case 'f':
		return word(b, "false")
	case 'n':
		return word(b, "null")
	}
	if b[0] != '-' && (b[0] < '0' || b[0] > '9') {
		return 0, false
	}
	for n = 1; n < len(b); n++ {
		switch c := b[n]; {
		case c >= '0' && c <= '9', c == '.', c == 'e', c == 'E', c == '+', c == '-':
			if n == maxNumber {
				return 0, false
			}
		default:
			return n, true
		}
	}
	return 0, true
}

func word(b []byte, w string) (int, bool) {
	if len(b) >= len(w) {
		return len(w), string(b[:len(w)]) == w
	}
	return 0, string(b) == w[:len(b)]
}
