package expr

// A Point is a received value.
type Point struct {
	Ts    int64 // Unix seconds
	Value float64
}

// Needs returns how many received points n values take: one more when they are rates.
func Needs(n int, gauge bool) int {
	if gauge {
		return n
	}
	return n + 1
}

// Values appends to dst the n newest values of a series whose received points are
// newest first, and reports whether there are enough. Of a gauge they are the points
// themselves. Of a counter a value is the rate between a point and the one before it,
// negative when the counter went back (contract alerting 1.5).
func Values(dst []float64, points []Point, n int, gauge bool) ([]float64, bool) {
	if n < 1 || len(points) < Needs(n, gauge) {
		return dst, false
	}
	for i := range n {
		v := points[i].Value
		if !gauge {
			v = (v - points[i+1].Value) / float64(points[i].Ts-points[i+1].Ts)
		}
		dst = append(dst, v)
	}
	return dst, true
}
