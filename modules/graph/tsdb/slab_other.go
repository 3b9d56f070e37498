//go:build !linux

package tsdb

func (s *shard) newSlabs() []*[slabSize]series {
	return []*[slabSize]series{new([slabSize]series)}
}
