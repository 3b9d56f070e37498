package codec

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// ErrCorrupt says that bytes are not what an Encoder wrote.
var ErrCorrupt = errors.New("codec: corrupt column")

const (
	columnMax = 512
	blockMax  = 32

	kindFloat    = 0x80
	kindConst    = 0xF0
	kindConstInt = 0xF1

	modeFrame      = 0
	modeDelta      = 1
	modeDeltaFrame = 2
	modeRepeat     = 3
)

// scaleOf returns the factor of a scale code, 0 for a code that does not exist.
// step makes the rates of a counter, n/step, integers; 2*step those over one
// missing sample.
func scaleOf(code byte, step int) float64 {
	switch code {
	case 0:
		return 1
	case 1:
		return float64(step)
	case 2:
		return 2 * float64(step)
	case 3:
		return 100
	case 4:
		return 1000
	case 5:
		return 1e6
	}
	return 0
}

// scaleOrder is the order in which an Encoder tries the scales: the first that
// fits is taken, so small factors come first.
var scaleOrder = [...]byte{0, 3, 1, 4, 2, 5}

// sortable maps a float to an integer of the same order.
func sortable(f float64) int64 {
	b := int64(math.Float64bits(f))
	return b ^ int64(uint64(b>>63)>>1)
}

func unsortable(x int64) float64 { return math.Float64frombits(uint64(x ^ int64(uint64(x>>63)>>1))) }

func zigzag(x int64) uint64   { return uint64(x<<1) ^ uint64(x>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// An Encoder holds the scratch memory of encoding; the zero value is ready. It
// must not be used from two goroutines at once.
type Encoder struct {
	ints  [columnMax]int64
	block [blockMax]uint64
	dense []float64
}

// Append packs v behind dst and returns the longer slice. Any float64 is kept
// bit for bit. step is the series' step in seconds; Decode must be given the same.
func (e *Encoder) Append(dst []byte, v []float64, step int) []byte {
	for len(v) > 0 {
		n := min(columnMax, len(v))
		dst = e.column(dst, v[:n], step)
		v = v[n:]
	}
	return dst
}

func (e *Encoder) column(dst []byte, v []float64, step int) []byte {
	first := math.Float64bits(v[0])
	same := true
	for _, f := range v[1:] {
		if math.Float64bits(f) != first { // not f != v[0]: 0 and -0 differ here
			same = false
			break
		}
	}
	if same {
		if k, ok := toInt(v[0], 1); ok {
			dst = append(dst, kindConstInt)
			return binary.AppendUvarint(dst, zigzag(k))
		}
		dst = append(dst, kindConst)
		return binary.LittleEndian.AppendUint64(dst, first)
	}
	x := e.ints[:len(v)]
	fits := false
	for _, code := range scaleOrder {
		if fits = toInts(v, x, scaleOf(code, step)); fits {
			dst = append(dst, code)
			break
		}
	}
	if !fits {
		shift := 63
		for i, f := range v {
			x[i] = sortable(f)
			shift = min(shift, bits.TrailingZeros64(uint64(x[i])))
		}
		for i := range x {
			x[i] >>= uint(shift)
		}
		dst = append(dst, kindFloat, byte(shift))
	}
	prev := int64(0)
	for len(x) > 0 {
		n := min(blockMax, len(x))
		dst = e.appendBlock(dst, x[:n], prev)
		prev = x[n-1]
		x = x[n:]
	}
	return dst
}

// toInt returns f*scale when that is an integer below 2^52 from which a division
// gives f back exactly.
func toInt(f, scale float64) (int64, bool) {
	m := f * scale
	if !(m <= 1<<52 && m >= -(1<<52)) { // false for NaN too
		return 0, false
	}
	var k int64
	if m >= 0 {
		k = int64(m + .5)
	} else {
		k = int64(m - .5)
	}
	if float64(k)/scale != f || k == 0 && math.Signbit(f) {
		return 0, false
	}
	return k, true
}

func toInts(v []float64, x []int64, scale float64) bool {
	if scale == 0 {
		return false
	}
	for i, f := range v {
		k, ok := toInt(f, scale)
		if !ok {
			return false
		}
		x[i] = k
	}
	return true
}

func varintBits(u uint64) int { return (bits.Len64(u|1) + 6) / 7 * 8 }

// width rounds up what the six bits of a header can not say.
func width(w int) int {
	if w >= 63 {
		return 64
	}
	return w
}

// appendBlock writes x, at most 32 integers, in the cheapest mode. Differences
// may wrap around; the decoder wraps back.
func (e *Encoder) appendBlock(dst []byte, x []int64, prev int64) []byte {
	n := len(x)
	lo, hi := x[0], x[0]
	dlo, dhi := int64(math.MaxInt64), int64(math.MinInt64)
	var deltas uint64 // the zigzag deltas from x[1] on, or-ed
	var repeats uint32
	p := prev
	for i, k := range x {
		lo, hi = min(lo, k), max(hi, k)
		d := k - p
		if d == 0 {
			repeats |= 1 << uint(i)
		}
		if i > 0 {
			deltas |= zigzag(d)
			dlo, dhi = min(dlo, d), max(dhi, d)
		}
		p = k
	}
	start := varintBits(zigzag(x[0] - prev))
	wFrame := width(bits.Len64(uint64(hi - lo)))
	wDelta := width(bits.Len64(deltas))
	wRepeat := width(bits.Len64(deltas | zigzag(x[0]-prev)))
	mode, w := modeFrame, wFrame
	best := varintBits(zigzag(lo-prev)) + n*wFrame
	if c := start + (n-1)*wDelta; c < best {
		mode, w, best = modeDelta, wDelta, c
	}
	if n > 1 {
		wd := width(bits.Len64(uint64(dhi - dlo)))
		if c := start + varintBits(zigzag(dlo)) + (n-1)*wd; c < best {
			mode, w, best = modeDeltaFrame, wd, c
		}
	}
	if c := (n+7)/8*8 + (n-bits.OnesCount32(repeats))*wRepeat; c < best {
		mode, w = modeRepeat, wRepeat
	}

	dst = append(dst, byte(mode)<<6|byte(min(w, 63)))
	y := e.block[:0]
	switch mode {
	case modeFrame:
		dst = binary.AppendUvarint(dst, zigzag(lo-prev))
		for _, k := range x {
			y = append(y, uint64(k-lo))
		}
	case modeDelta:
		dst = binary.AppendUvarint(dst, zigzag(x[0]-prev))
		for i := 1; i < n; i++ {
			y = append(y, zigzag(x[i]-x[i-1]))
		}
	case modeDeltaFrame:
		dst = binary.AppendUvarint(dst, zigzag(x[0]-prev))
		dst = binary.AppendUvarint(dst, zigzag(dlo))
		for i := 1; i < n; i++ {
			y = append(y, uint64(x[i]-x[i-1]-dlo))
		}
	case modeRepeat:
		for i := 0; i < n; i += 8 {
			dst = append(dst, byte(repeats>>i))
		}
		p = prev
		for _, k := range x {
			if k != p {
				y = append(y, zigzag(k-p))
			}
			p = k
		}
	}
	return pack(dst, y, uint(w))
}

// pack appends the low w bits of each of y, w in 0..62 or 64.
func pack(dst []byte, y []uint64, w uint) []byte {
	if w == 0 {
		return dst
	}
	if w == 64 {
		for _, u := range y {
			dst = binary.LittleEndian.AppendUint64(dst, u)
		}
		return dst
	}
	var acc uint64
	var n uint
	for _, u := range y {
		acc |= u << n
		if n += w; n >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			n -= 64
			acc = u >> (w - n)
		}
	}
	for ; n > 0; n -= min(n, 8) {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}
