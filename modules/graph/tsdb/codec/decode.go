package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Decode fills out, whose length is the number of values that were packed, from
// the front of src and returns the rest of src.
func Decode(src []byte, out []float64, step int) ([]byte, error) {
	for len(out) > 0 {
		n := min(columnMax, len(out))
		var err error
		if src, err = decodeColumn(src, out[:n], step); err != nil {
			return nil, err
		}
		out = out[n:]
	}
	return src, nil
}

func decodeColumn(src []byte, out []float64, step int) ([]byte, error) {
	if len(src) < 2 {
		return nil, ErrCorrupt
	}
	kind := src[0]
	src = src[1:]
	var shift uint
	var scale float64
	switch kind {
	case kindConstInt:
		u, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, ErrCorrupt
		}
		fill(out, float64(unzigzag(u)))
		return src[k:], nil
	case kindConst:
		if len(src) < 8 {
			return nil, ErrCorrupt
		}
		fill(out, math.Float64frombits(binary.LittleEndian.Uint64(src)))
		return src[8:], nil
	case kindFloat:
		if shift = uint(src[0]); shift > 63 {
			return nil, ErrCorrupt
		}
		src = src[1:]
	default:
		if scale = scaleOf(kind, step); scale == 0 {
			return nil, ErrCorrupt
		}
	}
	var x [blockMax]int64
	prev := int64(0)
	for len(out) > 0 {
		n := min(blockMax, len(out))
		var ok bool
		if src, ok = decodeBlock(src, x[:n], prev); !ok {
			return nil, ErrCorrupt
		}
		prev = x[n-1]
		switch {
		case scale == 0:
			for i, k := range x[:n] {
				out[i] = unsortable(k << shift)
			}
		case scale == 1:
			for i, k := range x[:n] {
				out[i] = float64(k)
			}
		default:
			for i, k := range x[:n] {
				out[i] = float64(k) / scale
			}
		}
		out = out[n:]
	}
	return src, nil
}

func fill(out []float64, v float64) {
	for i := range out {
		out[i] = v
	}
}

func decodeBlock(src []byte, x []int64, prev int64) (rest []byte, ok bool) {
	if len(src) == 0 {
		return nil, false
	}
	n := len(x)
	mode := src[0] >> 6
	w := uint(src[0] & 63)
	if w == 63 {
		w = 64
	}
	src = src[1:]
	var y [blockMax]uint64
	if mode == modeRepeat {
		nb := (n + 7) / 8
		if len(src) < nb {
			return nil, false
		}
		var mask uint32
		for i, b := range src[:nb] {
			mask |= uint32(b) << (8 * i)
		}
		mask &= uint32(1<<uint(n) - 1)
		if src, ok = unpack(src[nb:], y[:n-bits.OnesCount32(mask)], w); !ok {
			return nil, false
		}
		j, p := 0, prev
		for i := range x {
			if mask&(1<<uint(i)) == 0 {
				p += unzigzag(y[j])
				j++
			}
			x[i] = p
		}
		return src, true
	}
	u, k := binary.Uvarint(src)
	if k <= 0 {
		return nil, false
	}
	src = src[k:]
	first := prev + unzigzag(u)
	switch mode {
	case modeFrame:
		if src, ok = unpack(src, y[:n], w); !ok {
			return nil, false
		}
		for i := range x {
			x[i] = first + int64(y[i])
		}
	case modeDelta:
		if src, ok = unpack(src, y[:n-1], w); !ok {
			return nil, false
		}
		x[0] = first
		for i := 1; i < n; i++ {
			first += unzigzag(y[i-1])
			x[i] = first
		}
	case modeDeltaFrame:
		u, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, false
		}
		least := unzigzag(u)
		if src, ok = unpack(src[k:], y[:n-1], w); !ok {
			return nil, false
		}
		x[0] = first
		for i := 1; i < n; i++ {
			first += least + int64(y[i-1])
			x[i] = first
		}
	}
	return src, true
}

// unpack reads len(y) numbers of w bits from the front of src.
func unpack(src []byte, y []uint64, w uint) (rest []byte, ok bool) {
	if w == 0 || len(y) == 0 {
		clear(y)
		return src, true
	}
	need := (len(y)*int(w) + 7) / 8
	if len(src) < need {
		return nil, false
	}
	b := src
	// The loop loads eight bytes and at times a ninth from where a number
	// begins; near the end of src it reads a padded copy.
	var pad [blockMax*8 + 9]byte
	if len(src) < need+9 {
		copy(pad[:], src)
		b = pad[:]
	}
	mask := ^uint64(0) >> (64 - w)
	pos := uint(0)
	for i := range y {
		at, off := pos>>3, pos&7
		u := binary.LittleEndian.Uint64(b[at:]) >> off
		if off+w > 64 {
			u |= uint64(b[at+8]) << (64 - off)
		}
		y[i] = u & mask
		pos += w
	}
	return src[need:], true
}
