package tsdb

import (
	"runtime"
	"syscall"
	"unsafe"
)

const (
	hugePage = 2 << 20
	// slabRegion is how much memory a shard maps at a time once it is big.
	slabRegion = 4 * hugePage
	// smallShard is the number of slabs up to which a shard takes them from the
	// Go heap: a huge page each would be a waste for a small installation.
	smallShard = 8
)

// newSlabs returns memory for more series. Series are met at random, so a big
// shard has them in huge pages: a miss of the address cache costs as much as one of
// the data. The memory goes back when db does.
func (s *shard) newSlabs() []*[slabSize]series {
	if len(s.slabs) < smallShard {
		return []*[slabSize]series{new([slabSize]series)}
	}
	b, err := syscall.Mmap(-1, 0, slabRegion+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return []*[slabSize]series{new([slabSize]series)}
	}
	runtime.AddCleanup(s.db, func(b []byte) { _ = syscall.Munmap(b) }, b)
	off := -uintptr(unsafe.Pointer(&b[0])) & (hugePage - 1)
	b = b[off:][:slabRegion]
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // only advice
	const size = int(unsafe.Sizeof([slabSize]series{}))
	var slabs []*[slabSize]series
	for ; len(b) >= size; b = b[size:] {
		slabs = append(slabs, (*[slabSize]series)(unsafe.Pointer(&b[0])))
	}
	return slabs
}
