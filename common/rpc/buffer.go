package rpc

import "io"

const (
	firstBuffer = 4 << 10 // bytes; most connections never need more
	keepBuffer  = 1 << 20 // bytes; a larger buffer is given back after its message
)

// An inbuf holds what was read from a connection and not consumed yet. It grows
// only as bytes arrive, so a length prefix alone costs nothing.
type inbuf struct {
	src io.Reader
	b   []byte
	r,
	w int // b[r:w] is unread
	max int // a message has at most so many bytes
}

func newInbuf(src io.Reader, maxMessage int) *inbuf {
	return &inbuf{src: src, b: make([]byte, firstBuffer), max: maxMessage}
}

// unread returns what is there; the slice is valid until fill or consume.
func (in *inbuf) unread() []byte { return in.b[in.r:in.w] }

// fill reads at least one more byte behind the unread ones.
func (in *inbuf) fill() error {
	if in.w == len(in.b) {
		switch {
		case in.r > 0:
			in.w = copy(in.b, in.b[in.r:in.w])
			in.r = 0
		case len(in.b) > in.max:
			return ErrTooLarge
		default:
			grown := make([]byte, min(2*len(in.b), in.max+firstBuffer))
			in.w = copy(grown, in.b[:in.w])
			in.b = grown
		}
	}
	for range 100 {
		n, err := in.src.Read(in.b[in.w:])
		if n > 0 {
			in.w += n
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// consume drops the first n unread bytes.
func (in *inbuf) consume(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
		if len(in.b) > keepBuffer {
			in.b = make([]byte, firstBuffer)
		}
	}
}

// need fills until n bytes are unread.
func (in *inbuf) need(n int) error {
	for in.w-in.r < n {
		if err := in.fill(); err != nil {
			return err
		}
	}
	return nil
}

// unexpected turns the end of the stream inside a message into an error of its
// own, so that only an end between messages looks like a normal goodbye.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
