package rpc

import (
	"errors"
)

// readMsgpack continues scan until its value is whole. The value stays unconsumed.
func readMsgpack(in *inbuf, scan *mpScan) error {
	for {
		done, err := scan.run(in.unread())
		if err != nil {
			return err
		}
		if scan.pos > in.max {
			return ErrTooLarge
		}
		if done {
			return nil
		}
		if err := in.fill(); err != nil {
			if scan.pos > 0 || len(in.unread()) > 0 {
				err = unexpected(err)
			}
			return err
		}
	}
}

// specServer is ugorji's MsgpackSpecRpc: [0, id, method, [argument]].
type specServer struct {
	in    *inbuf
	coder *mpCoder
	scan  mpScan
}

func (p *specServer) head(h *header) error {
	p.scan.from(0, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return err
	}
	b := p.in.unread()[:p.scan.pos]
	h.size = len(b)
	n, b, err := MsgpackArray(b)
	if err != nil || n != 4 {
		return protocolError("msgpack request is no array of 4")
	}
	kind, b, err := MsgpackInt(b)
	if err != nil || kind != 0 {
		return protocolError("msgpack message of type %d is no request", kind)
	}
	id, b, err := MsgpackInt(b)
	if err != nil {
		return err
	}
	name, b, err := MsgpackBytes(b)
	if err != nil {
		return err
	}
	h.seq, h.method = uint64(id), string(name)
	n, b, err = MsgpackArray(b)
	switch {
	case err != nil:
		h.err = errors.New("msgpack params are no array: send [argument]")
	case n > 0:
		h.arg = b
	}
	return nil
}

func (p *specServer) body(h *header, arg any) error {
	defer p.in.consume(h.size)
	if arg == nil {
		return nil
	}
	if h.err != nil {
		return argError{h.err}
	}
	if h.arg == nil {
		return nil
	}
	if err := p.coder.decode(h.arg, arg); err != nil {
		return argError{err} // the message was whole, so the stream is in order
	}
	return nil
}

func (p *specServer) reply(out *outqueue, h *header, result any, text string) error {
	buf := p.coder.buffer()
	b := append(*buf, 0x94, 0x01)
	b = AppendMsgpackInt(b, int64(h.seq))
	var encErr error
	if text == "" {
		mark := len(b)
		b = append(b, 0xc0)
		if b, encErr = p.coder.encode(b, result); encErr != nil {
			b, text = b[:mark], notEncoded(h.method, encErr)
		}
	}
	if text != "" {
		b = append(AppendMsgpackString(b, text), 0xc0)
	}
	err := out.add(h.held, func(dst []byte) []byte { return append(dst, b...) })
	p.coder.release(buf, b)
	if err != nil {
		return err
	}
	return encErr
}

// gorpcServer is ugorji's GoRpc over msgpack: header and body are two values.
type gorpcServer struct {
	in    *inbuf
	coder *mpCoder
	scan  mpScan
}

func (p *gorpcServer) head(h *header) error {
	p.scan.from(0, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return err
	}
	r, err := readGoRPCHeader(p.in.unread()[:p.scan.pos])
	if err != nil {
		return err
	}
	h.method, h.seq = r.method, r.seq
	at := p.scan.pos
	p.scan.from(at, p.in.max)
	if err := readMsgpack(p.in, &p.scan); err != nil {
		return unexpected(err)
	}
	b := p.in.unread()[:p.scan.pos]
	h.size, h.arg = len(b), b[at:]
	return nil
}

func (p *gorpcServer) body(h *header, arg any) error {
	defer p.in.consume(h.size)
	if arg == nil {
		return nil
	}
	if err := p.coder.decode(h.arg, arg); err != nil {
		return argError{err}
	}
	return nil
}

func (p *gorpcServer) reply(out *outqueue, h *header, result any, text string) error {
	buf := p.coder.buffer()
	var encErr error
	b := appendGoRPCReply(*buf, h, text)
	if text == "" {
		if b, encErr = p.coder.encode(b, result); encErr != nil {
			text = notEncoded(h.method, encErr)
			b = appendGoRPCReply(b[:0], h, text)
		}
	}
	if text != "" {
		b = append(b, 0x80)
	}
	err := out.add(h.held, func(dst []byte) []byte { return append(dst, b...) })
	p.coder.release(buf, b)
	if err != nil {
		return err
	}
	return encErr
}

func appendGoRPCReply(b []byte, h *header, text string) []byte {
	b = append(b, 0x83)
	b = AppendMsgpackString(AppendMsgpackString(b, "ServiceMethod"), h.method)
	b = AppendMsgpackInt(AppendMsgpackString(b, "Seq"), int64(h.seq))
	return AppendMsgpackString(AppendMsgpackString(b, "Error"), text)
}

// A gorpcHeader is the first value of a GoRpc request or reply, sent as a map or
// as an array of its fields.
type gorpcHeader struct {
	method string
	seq    uint64
	text   string
}

func readGoRPCHeader(b []byte) (h gorpcHeader, err error) {
	field := func(name string) error {
		var v []byte
		var n int64
		switch name {
		case "ServiceMethod":
			v, b, err = MsgpackBytes(b)
			h.method = string(v)
		case "Seq":
			n, b, err = MsgpackInt(b)
			h.seq = uint64(n)
		case "Error":
			v, b, err = MsgpackBytes(b)
			h.text = string(v)
		default:
			b, err = MsgpackSkip(b)
		}
		return err
	}
	var n int
	if MsgpackIsArray(b) {
		if n, b, err = MsgpackArray(b); err != nil {
			return h, err
		}
		names := [...]string{"ServiceMethod", "Seq", "Error"}
		for i := range n {
			name := ""
			if i < len(names) {
				name = names[i]
			}
			if err := field(name); err != nil {
				return h, err
			}
		}
		return h, nil
	}
	if n, b, err = MsgpackMap(b); err != nil {
		return h, err
	}
	for range n {
		var k []byte
		if k, b, err = MsgpackBytes(b); err != nil {
			return h, err
		}
		if err := field(string(k)); err != nil {
			return h, err
		}
	}
	return h, nil
}
