package rpc

import (
	"encoding/binary"
	"fmt"
)

// maxGobTypes bounds the type descriptions of one connection, in bytes: a decoder
// keeps them all for as long as the connection lives. Falcon's fill 2 KB.
const maxGobTypes = 1 << 20

// A gobReader stands between a connection and its gob.Decoder: it refuses messages
// that are too large by their length prefix, values with a map that is larger than its
// message, and a peer that describes types without end. Because it reads bytes singly
// too, the decoder adds no buffer of its own and takes exactly the messages it needs.
type gobReader struct {
	in    *inbuf
	left  int // bytes of the current message not handed out yet, prefix included
	types int // bytes of type descriptions so far
	walk  gobWalker
	err   error
}

// frame looks at the head of the next message.
func (g *gobReader) frame() error {
	if err := g.in.need(1); err != nil {
		return err
	}
	prefix := 1
	length := uint64(g.in.unread()[0])
	if length > 0x7f {
		n := 0x100 - int(length) // a negated count of bytes
		if n > 8 {
			return protocolError("gob length prefix %#x", length)
		}
		prefix += n
		if err := g.in.need(prefix); err != nil {
			return unexpected(err)
		}
		var b [8]byte
		copy(b[8-n:], g.in.unread()[1:prefix])
		length = binary.BigEndian.Uint64(b[:])
	}
	if length > uint64(g.in.max) {
		return ErrTooLarge
	}
	if length == 0 {
		return protocolError("empty gob message")
	}
	// The message begins with a type id; a negative one describes a type.
	if err := g.in.need(prefix + 1); err != nil {
		return unexpected(err)
	}
	last := prefix
	if c := g.in.unread()[prefix]; c > 0x7f {
		n := 0x100 - int(c)
		if n > 8 || uint64(n) >= length {
			return protocolError("gob type id %#x", c)
		}
		last = prefix + n
		if err := g.in.need(last + 1); err != nil {
			return unexpected(err)
		}
	}
	describes := g.in.unread()[last]&1 == 1
	if describes {
		if g.types += int(length); g.types > maxGobTypes {
			return fmt.Errorf("gob type descriptions: %w (%d bytes a connection)", ErrTooLarge, maxGobTypes)
		}
	}
	if err := g.in.need(prefix + int(length)); err != nil {
		return unexpected(err)
	}
	look := g.walk.check
	if describes {
		look = g.walk.describe
	}
	if err := look(g.in.unread()[prefix : prefix+int(length)]); err != nil {
		return err
	}
	g.left = prefix + int(length)
	return nil
}

// Read hands out bytes of the current message.
func (g *gobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if g.left == 0 {
		if g.err = g.frame(); g.err != nil {
			return 0, g.err
		}
	}
	n := copy(p[:min(len(p), g.left)], g.in.unread())
	g.in.consume(n)
	g.left -= n
	return n, nil
}

// ReadByte hands out one byte.
func (g *gobReader) ReadByte() (byte, error) {
	if g.left > 0 && len(g.in.unread()) > 0 {
		c := g.in.unread()[0]
		g.in.consume(1)
		g.left--
		return c, nil
	}
	var b [1]byte
	_, err := g.Read(b[:])
	return b[0], err
}
