package rpc

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net/rpc"
)

// A header is what a request says besides its argument.
type header struct {
	method string
	seq    uint64
	id     []byte // JSON: raw, a copy
	arg    []byte // JSON and MsgpackSpecRpc: the argument inside the buffer, nil for none
	size   int    // bytes to consume after the argument
	err    error  // JSON, MsgpackSpecRpc: the request is whole, but its parameters are not usable
	held   bool   // the reply may wait until the reading goroutine has nothing more to do
}

// A serverCodec reads requests and writes replies. head and body are called in
// turn on the reading goroutine; reply may be called from any.
type serverCodec interface {
	// head reads up to the argument. io.EOF is a normal goodbye.
	head(h *header) error
	// body decodes the argument, or drops it when arg is nil. An argError leaves
	// the connection in order, any other error does not.
	body(h *header, arg any) error
	// reply queues the answer, in text an error. A result that can not be encoded
	// is answered with an error in its place.
	reply(out *outqueue, h *header, result any, text string) error
}

// notEncoded is the answer when a result can not be encoded.
func notEncoded(method string, err error) string {
	return fmt.Sprintf("encode reply of %s: %v", method, err)
}

// jsonServer is JSON-RPC 1.0 as net/rpc/jsonrpc answers it.
type jsonServer struct {
	in   *inbuf
	scan jsonScan
}

func (j *jsonServer) head(h *header) error {
	b, err := readJSON(j.in, &j.scan)
	if err != nil {
		return err
	}
	h.size = len(b)
	if !j.scan.method.some() {
		return protocolError("JSON request without a method")
	}
	if h.method, err = jsonText(j.scan.method.of(b)); err != nil {
		return err
	}
	h.id = []byte("null")
	if j.scan.id.some() {
		h.id = bytes.Clone(j.scan.id.of(b))
	}
	p := j.scan.params.of(b)
	switch {
	case len(p) == 0, string(p) == "null":
		h.err = errors.New(missingParams)
	case p[0] != '[':
		h.err = fmt.Errorf("json: cannot unmarshal %s into Go value of type [1]interface {}", jsonKind(p[0]))
	case j.scan.argument.some():
		h.arg = j.scan.argument.of(b)
	}
	return nil
}

func (j *jsonServer) body(h *header, arg any) error {
	defer j.in.consume(h.size)
	if arg == nil {
		return nil
	}
	if h.err != nil {
		return argError{h.err}
	}
	if h.arg == nil {
		return nil
	}
	return decodeJSON(h.arg, arg)
}

// decodeJSON reads v from b; a broken string escape ends the connection as any
// broken syntax does, a value of the wrong type only fails the call.
func decodeJSON(b []byte, v any) error {
	if d, ok := v.(JSONDecoder); ok {
		if err := d.DecodeJSON(b); err != nil {
			return argError{err}
		}
		return nil
	}
	err := json.Unmarshal(b, v)
	var broken *json.SyntaxError
	if err == nil || errors.As(err, &broken) {
		return err
	}
	return argError{err}
}

func (j *jsonServer) reply(out *outqueue, h *header, result any, text string) error {
	b := append(make([]byte, 0, 128), `{"id":`...)
	b = append(b, h.id...)
	var encErr error
	if text == "" {
		mark := len(b)
		b = append(b, `,"result":`...)
		if b, encErr = appendJSON(b, result); encErr == nil {
			b = append(b, `,"error":null}`+"\n"...)
		} else {
			b, text = b[:mark], notEncoded(h.method, encErr)
		}
	}
	if text != "" {
		b = append(b, `,"result":null,"error":`...)
		b, _ = appendJSON(b, text) // a string always encodes
		b = append(b, "}\n"...)
	}
	if err := out.add(h.held, func(dst []byte) []byte { return append(dst, b...) }); err != nil {
		return err
	}
	return encErr
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	if a, ok := v.(JSONAppender); ok {
		return a.AppendJSON(dst), nil
	}
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

// readJSON reads one object and leaves it unconsumed.
func readJSON(in *inbuf, scan *jsonScan) ([]byte, error) {
	// Drop the white space between objects, so that an end there is a goodbye.
	for {
		b := in.unread()
		n := 0
		for n < len(b) && isJSONSpace(b[n]) {
			n++
		}
		in.consume(n)
		if n < len(b) {
			break
		}
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	scan.reset()
	for {
		done, err := scan.run(in.unread())
		if err != nil {
			return nil, err
		}
		if done {
			if scan.pos > in.max {
				return nil, ErrTooLarge
			}
			return in.unread()[:scan.pos], nil
		}
		if err := in.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// jsonText reads a JSON string.
func jsonText(b []byte) (string, error) {
	if len(b) >= 2 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return "", err
	}
	return s, nil
}

func jsonKind(c byte) string {
	switch c {
	case '{':
		return "object"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	}
	return "number"
}

// gobServer is net/rpc's own codec.
type gobServer struct {
	guard *gobReader
	dec   *gob.Decoder

	// Guarded by the outqueue's lock: an encoder sends each type once, so what it
	// writes must leave in the order of writing.
	out bytes.Buffer
	enc *gob.Encoder
}

func newGobServer(in *inbuf) *gobServer {
	g := &gobServer{guard: &gobReader{in: in}}
	g.dec = gob.NewDecoder(g.guard)
	g.enc = gob.NewEncoder(&g.out)
	return g
}

func (g *gobServer) head(h *header) error {
	var r rpc.Request
	if err := g.dec.Decode(&r); err != nil {
		if g.guard.err != nil {
			return g.guard.err
		}
		return err
	}
	h.method, h.seq = r.ServiceMethod, r.Seq
	return nil
}

func (g *gobServer) body(_ *header, arg any) error {
	err := g.dec.Decode(arg)
	if err == nil {
		return nil
	}
	if g.guard.err != nil {
		return unexpected(g.guard.err)
	}
	if g.guard.left > 0 {
		return err // the decoder stopped inside a message
	}
	return argError{err}
}

func (g *gobServer) reply(out *outqueue, h *header, result any, text string) error {
	var encErr error
	err := out.add(h.held, func(dst []byte) []byte {
		// The body is encoded first, so that a result that can not be encoded still
		// finds its header unwritten; the header goes out in front of it.
		g.out.Reset()
		if text == "" {
			if encErr = g.enc.Encode(result); encErr != nil {
				text = notEncoded(h.method, encErr)
			}
		}
		if text != "" {
			_ = g.enc.Encode(struct{}{}) // what net/rpc sends beside an error
		}
		body := g.out.Len()
		_ = g.enc.Encode(&rpc.Response{ServiceMethod: h.method, Seq: h.seq, Error: text})
		b := g.out.Bytes()
		dst = append(dst, b[body:]...)
		dst = append(dst, b[:body]...)
		if g.out.Cap() > keepBuffer {
			g.out = bytes.Buffer{}
		}
		return dst
	})
	if err != nil {
		return err
	}
	return encErr
}
