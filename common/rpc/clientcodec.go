package rpc

import (
	"bytes"
	"encoding/gob"
	"errors"
	"net/rpc"
	"strconv"
)

// A replyHeader is what a reply says besides its result.
type replyHeader struct {
	seq    uint64
	failed bool
	text   string // when failed
	result []byte // JSON and msgpack: inside the buffer
	size   int    // bytes to consume after it
}

// A clientCodec writes requests and reads replies. head and body are called in
// turn on the reading goroutine; request from any.
type clientCodec interface {
	// request queues a call. queued is called, before the call can leave, once it
	// is sure that it will.
	request(out *outqueue, seq uint64, method string, arg any, queued func()) error
	head(h *replyHeader) error
	// body decodes the result, or drops it when reply is nil.
	body(h *replyHeader, reply any) error
}

func newClientCodec(c Codec, in *inbuf, coder *mpCoder) clientCodec {
	switch c {
	case JSON:
		return &jsonClient{in: in}
	case Gob:
		g := &gobClient{guard: &gobReader{in: in}}
		g.dec = gob.NewDecoder(g.guard)
		g.enc = gob.NewEncoder(&g.out)
		return g
	case GoRPC:
		return &gorpcClient{in: in, coder: coder}
	}
	return &specClient{in: in, coder: coder}
}

// addBytes queues b.
func addBytes(out *outqueue, b []byte, queued func()) error {
	return out.add(false, func(dst []byte) []byte {
		queued()
		return append(dst, b...)
	})
}

type jsonClient struct {
	in   *inbuf
	scan jsonScan
}

func (j *jsonClient) request(out *outqueue, seq uint64, method string, arg any, queued func()) error {
	b := append(make([]byte, 0, 256), `{"method":`...)
	b, _ = appendJSON(b, method) // a string always encodes
	b = append(b, `,"params":[`...)
	b, err := appendJSON(b, arg)
	if err != nil {
		return argError{err}
	}
	b = append(b, `],"id":`...)
	b = strconv.AppendUint(b, seq, 10)
	return addBytes(out, append(b, "}\n"...), queued)
}

func (j *jsonClient) head(h *replyHeader) error {
	b, err := readJSON(j.in, &j.scan)
	if err != nil {
		return err
	}
	h.size = len(b)
	if h.seq, err = strconv.ParseUint(string(j.scan.id.of(b)), 10, 64); err != nil {
		return protocolError("JSON reply with id %.40q", j.scan.id.of(b))
	}
	if e := j.scan.errText.of(b); len(e) > 0 && string(e) != "null" {
		h.failed = true
		if h.text, err = jsonText(e); err != nil {
			h.text = string(e) // not a string: stock never does it, show what there is
		}
	}
	h.result = j.scan.result.of(b)
	return nil
}

func (j *jsonClient) body(h *replyHeader, reply any) error {
	defer j.in.consume(h.size)
	if reply == nil || len(h.result) == 0 {
		return nil
	}
	return decodeJSON(h.result, reply)
}

type gobClient struct {
	guard *gobReader
	dec   *gob.Decoder

	out bytes.Buffer // guarded by the outqueue's lock, as in gobServer
	enc *gob.Encoder
}

func (g *gobClient) request(out *outqueue, seq uint64, method string, arg any, queued func()) error {
	var encErr error
	err := out.add(false, func(dst []byte) []byte {
		g.out.Reset()
		encErr = g.enc.Encode(arg)
		body := g.out.Len()
		if encErr != nil {
			// The types described so far count as sent, so they must go.
			return append(dst, g.out.Bytes()...)
		}
		_ = g.enc.Encode(&rpc.Request{ServiceMethod: method, Seq: seq})
		queued()
		b := g.out.Bytes()
		dst = append(dst, b[body:]...)
		dst = append(dst, b[:body]...)
		if g.out.Cap() > keepBuffer {
			g.out = bytes.Buffer{}
		}
		return dst
	})
	if encErr != nil {
		return argError{encErr}
	}
	return err
}

func (g *gobClient) head(h *replyHeader) error {
	var r rpc.Response
	if err := g.dec.Decode(&r); err != nil {
		if g.guard.err != nil {
			return g.guard.err
		}
		return err
	}
	h.seq, h.text, h.failed = r.Seq, r.Error, r.Error != ""
	return nil
}

func (g *gobClient) body(_ *replyHeader, reply any) error {
	err := g.dec.Decode(reply)
	if err == nil {
		return nil
	}
	if g.guard.err != nil {
		return unexpected(g.guard.err)
	}
	return argError{err}
}

type specClient struct {
	in    *inbuf
	coder *mpCoder
	scan  mpScan
}

func (p *specClient) request(out *outqueue, seq uint64, method string, arg any, queued func()) error {
	if a, ok := arg.(MsgpackAppender); ok { // can not fail: no buffer between
		return out.add(false, func(dst []byte) []byte {
			queued()
			dst = AppendMsgpackInt(append(dst, 0x94, 0x00), int64(seq))
			dst = append(AppendMsgpackString(dst, method), 0x91)
			return a.AppendMsgpack(dst)
		})
	}
	b := append(make([]byte, 0, 256), 0x94, 0x00)
	b = AppendMsgpackInt(b, int64(seq))
	b = append(AppendMsgpackString(b, method), 0x91)
	b, err := p.coder.encode(b, arg)
	if err != nil {
		return argError{err}
	}
	return addBytes(out, b, queued)
}

func (p *specClient) head(h *replyHeader) error {
	p.scan.from(0, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return err
	}
	b := p.in.unread()[:p.scan.pos]
	h.size = len(b)
	n, b, err := MsgpackArray(b)
	if err != nil || n != 4 {
		return protocolError("msgpack reply is no array of 4")
	}
	kind, b, err := MsgpackInt(b)
	if err != nil || kind != 1 {
		return protocolError("msgpack message of type %d is no reply", kind)
	}
	id, b, err := MsgpackInt(b)
	if err != nil {
		return err
	}
	h.seq = uint64(id)
	if len(b) == 0 {
		return errMsgpack
	}
	h.failed = b[0] != 0xc0
	text, rest, err := MsgpackBytes(b)
	if err != nil { // an error that is no string: some other implementation
		if rest, err = MsgpackSkip(b); err != nil {
			return err
		}
		text = []byte("error that is not a text")
	}
	h.text, h.result = string(text), rest
	return nil
}

func (p *specClient) body(h *replyHeader, reply any) error {
	defer p.in.consume(h.size)
	return decodeResult(p.coder, h, reply)
}

func decodeResult(coder *mpCoder, h *replyHeader, reply any) error {
	if reply == nil {
		return nil
	}
	if err := coder.decode(h.result, reply); err != nil {
		return argError{err}
	}
	return nil
}

type gorpcClient struct {
	in    *inbuf
	coder *mpCoder
	scan  mpScan
}

func (p *gorpcClient) request(out *outqueue, seq uint64, method string, arg any, queued func()) error {
	b := append(make([]byte, 0, 256), 0x82)
	b = AppendMsgpackString(AppendMsgpackString(b, "ServiceMethod"), method)
	b = AppendMsgpackInt(AppendMsgpackString(b, "Seq"), int64(seq))
	b, err := p.coder.encode(b, arg)
	if err != nil {
		return argError{err}
	}
	return addBytes(out, b, queued)
}

func (p *gorpcClient) head(h *replyHeader) error {
	p.scan.from(0, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return err
	}
	r, err := readGoRPCHeader(p.in.unread()[:p.scan.pos])
	if err != nil {
		return err
	}
	h.seq, h.text, h.failed = r.seq, r.text, r.text != ""
	at := p.scan.pos
	p.scan.from(at, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return unexpected(err)
	}
	b := p.in.unread()[:p.scan.pos]
	h.size, h.result = len(b), b[at:]
	return nil
}

func (p *gorpcClient) body(h *replyHeader, reply any) error {
	defer p.in.consume(h.size)
	return decodeResult(p.coder, h, reply)
}

// isArgError reports whether err leaves the connection in order.
func isArgError(err error) bool {
	var a argError
	return errors.As(err, &a)
}
