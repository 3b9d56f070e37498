package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A chunk body is
//
//	flags u8 | [gap varint] | [bitmap, one bit a slot, lowest first] | column
//
// where the column begins with the value of the sample before, when there is
// one: between the other values of a counter it costs a few bits.
const (
	chunkFull = 1 << 0 // every slot holds a value; there is no bitmap
	chunkPrev = 1 << 1 // gap and the value before are there
)

// A Prev is the sample before the first slot of a chunk. Gap is the distance in
// slots from it to the chunk's first slot, at least 1; 0 says that there is none.
type Prev struct {
	Gap   uint32
	Value float64
}

// AppendChunk packs the slots of one window, NaN for those without a value, and
// the sample before. At least one slot must hold a value.
func (e *Encoder) AppendChunk(dst []byte, slots []float64, prev Prev, step int) []byte {
	e.dense = e.dense[:0]
	var flags byte
	if prev.Gap > 0 {
		flags |= chunkPrev
		e.dense = append(e.dense, prev.Value)
	}
	before := len(e.dense)
	for _, v := range slots {
		if v == v {
			e.dense = append(e.dense, v)
		}
	}
	if len(e.dense)-before == len(slots) {
		flags |= chunkFull
	}
	dst = append(dst, flags)
	if prev.Gap > 0 {
		dst = binary.AppendUvarint(dst, uint64(prev.Gap))
	}
	if flags&chunkFull == 0 {
		for i := 0; i < len(slots); i += 8 {
			var m byte
			for j, v := range slots[i:min(i+8, len(slots))] {
				if v == v {
					m |= 1 << j
				}
			}
			dst = append(dst, m)
		}
	}
	return e.Append(dst, e.dense, step)
}

// HasSlot tells whether slot i of the n slots of a window holds a value in a chunk
// body, without unpacking the values.
func HasSlot(src []byte, i, n int) (bool, error) {
	if len(src) == 0 || src[0]&^(chunkFull|chunkPrev) != 0 || i < 0 || i >= n {
		return false, ErrCorrupt
	}
	flags := src[0]
	src = src[1:]
	if flags&chunkPrev != 0 {
		_, k := binary.Uvarint(src)
		if k <= 0 {
			return false, ErrCorrupt
		}
		src = src[k:]
	}
	if flags&chunkFull != 0 {
		return true, nil
	}
	if len(src) < (n+7)/8 {
		return false, ErrCorrupt
	}
	return src[i/8]>>(i%8)&1 == 1, nil
}

// A Decoder holds the scratch memory of reading chunks; the zero value is ready.
type Decoder struct{ dense []float64 }

// Chunk fills slots, whose length is the number of slots of the window, from a
// chunk body: NaN where there is no value. It returns the sample before.
func (d *Decoder) Chunk(src []byte, slots []float64, step int) (Prev, error) {
	var prev Prev
	if len(src) == 0 || src[0]&^(chunkFull|chunkPrev) != 0 {
		return prev, ErrCorrupt
	}
	flags := src[0]
	src = src[1:]
	lead := 0
	if flags&chunkPrev != 0 {
		gap, k := binary.Uvarint(src)
		if k <= 0 || gap == 0 || gap > math.MaxUint32 {
			return prev, ErrCorrupt
		}
		prev.Gap = uint32(gap)
		src = src[k:]
		lead = 1
	}
	if flags&chunkFull != 0 && lead == 0 {
		_, err := Decode(src, slots, step)
		return prev, err
	}
	n := len(slots)
	var bitmap []byte
	if flags&chunkFull == 0 {
		nb := (len(slots) + 7) / 8
		if len(src) < nb {
			return Prev{}, ErrCorrupt
		}
		bitmap, src = src[:nb], src[nb:]
		n = 0
		for _, m := range bitmap {
			n += bits.OnesCount8(m)
		}
		if n > len(slots) {
			return Prev{}, ErrCorrupt
		}
	}
	if cap(d.dense) < n+lead {
		d.dense = make([]float64, max(n+lead, 64))
	}
	dense := d.dense[:n+lead]
	if _, err := Decode(src, dense, step); err != nil {
		return Prev{}, err
	}
	if lead == 1 {
		prev.Value = dense[0]
		dense = dense[1:]
	}
	if bitmap == nil {
		copy(slots, dense)
		return prev, nil
	}
	j := 0
	for i := range slots {
		if bitmap[i/8]>>(i%8)&1 == 1 {
			if j == len(dense) { // a bit behind the last slot was counted
				return Prev{}, ErrCorrupt
			}
			slots[i] = dense[j]
			j++
		} else {
			slots[i] = math.NaN()
		}
	}
	return prev, nil
}
