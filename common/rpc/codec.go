package rpc

import (
	"bytes"
	"fmt"
)

// A Codec is how calls are written on a connection.
type Codec uint8

// The codecs. Auto is for clients only: MsgpackSpecRpc, unless the peer turns out
// to be stock.
const (
	Auto    Codec = iota
	JSON          // JSON-RPC 1.0 as net/rpc/jsonrpc writes it
	Gob           // net/rpc's own
	GoRPC         // msgpack, header and body as two values (ugorji GoRpc)
	Msgpack       // msgpack, one array of four (ugorji MsgpackSpecRpc)
	numCodecs
)

// String returns the name used in logs, counters and configuration.
func (c Codec) String() string {
	switch c {
	case Auto:
		return "auto"
	case JSON:
		return "json"
	case Gob:
		return "gob"
	case GoRPC:
		return "gorpc"
	case Msgpack:
		return "msgpack"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// ParseCodec reads a name that String writes; the empty string is Auto.
func ParseCodec(s string) (Codec, error) {
	if s == "" {
		return Auto, nil
	}
	for c := Auto; c < numCodecs; c++ {
		if c.String() == s {
			return c, nil
		}
	}
	return Auto, fmt.Errorf(`unknown codec %q: write "auto", "json", "gob", "gorpc" or "msgpack"`, s)
}

// A JSONDecoder is an argument or reply that reads its own JSON instead of leaving
// it to encoding/json. b is one syntactically complete value (strings may still
// hold bad escapes) and is overwritten after DecodeJSON returns. Its error is
// answered to the caller; the connection lives.
type JSONDecoder interface{ DecodeJSON(b []byte) error }

// A JSONAppender is an argument or reply that writes its own JSON: it appends one
// value without a line feed.
type JSONAppender interface{ AppendJSON(dst []byte) []byte }

// A MsgpackDecoder is an argument or reply that reads its own msgpack. b begins
// with a complete value; what follows it belongs to somebody else. b is
// overwritten after DecodeMsgpack returns; for an argument of an ordered or async
// method, which runs before more is read, only after the method has returned.
type MsgpackDecoder interface{ DecodeMsgpack(b []byte) error }

// A MsgpackAppender is an argument or reply that writes its own msgpack.
type MsgpackAppender interface{ AppendMsgpack(dst []byte) []byte }

// A detection is what the first bytes of a connection tell.
type detection uint8

const (
	detectMore detection = iota // not enough bytes yet
	detectBad                   // nothing we speak
	detectJSON
	detectGob
	detectGoRPC
	detectSpec
)

// detectWindow is how many bytes at most are looked at, white space in front of
// a JSON request not counted.
const detectWindow = 32

// detect tells the codec from the first bytes of a connection (contract ingest
// 2.3). skip is how many of them are white space to drop.
func detect(b []byte) (d detection, skip int) {
	for skip < len(b) && isJSONSpace(b[skip]) {
		skip++
	}
	if skip == len(b) {
		return detectMore, skip
	}
	if skip > 0 {
		if b[skip] == '{' {
			return detectJSON, skip
		}
		// 0x20, 0x09, 0x0A and 0x0D begin no msgpack request, and a gob stream
		// never has so short a first message.
		return detectBad, skip
	}
	switch c := b[0]; {
	case c == '{':
		return detectJSON, 0
	case c == 0x94:
		return startsWith(b[1:], 0x00), 0
	case c == 0xdc:
		return startsWith(b[1:], 0x00, 0x04, 0x00), 0
	case c >= 0x80 && c <= 0x8f, c == 0xde, c == 0xdf:
		return detectGoRPC, 0
	case c == 0x92, c == 0x93:
		if len(b) == 1 {
			return detectMore, 0
		}
		if s := b[1]; s >= 0xa0 && s <= 0xbf || s >= 0xd9 && s <= 0xdb {
			return detectGoRPC, 0
		}
		return detectBad, 0
	case c == '[': // JSON, but no request; a gob header of that length does not exist
		return detectBad, 0
	case c >= 0x01 && c <= 0x7a:
		return detectGobHeader(b), 0
	}
	return detectBad, 0
}

// startsWith reports whether b is the beginning of a MsgpackSpecRpc request whose
// next bytes are want.
func startsWith(b []byte, want ...byte) detection {
	n := min(len(b), len(want))
	if !bytes.Equal(b[:n], want[:n]) {
		return detectBad
	}
	if n < len(want) {
		return detectMore
	}
	return detectSpec
}

// detectGobHeader looks for the type descriptor of net/rpc's Request.
func detectGobHeader(b []byte) detection {
	mark := []byte("\x07Request")
	w := b[:min(len(b), 1+16+len(mark))]
	if bytes.Contains(w, mark) {
		return detectGob
	}
	if len(b) >= 1+16+len(mark) {
		return detectBad
	}
	return detectMore
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
