package vfs

import (
	"os"
	"syscall"
)

// datasync leaves out the access times; the size is synced, since the data can
// not be read back without it.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

// advise tells the kernel how a mapping is read: one that is read here and there
// must not drag in the neighbours of a page, one that is read whole is better
// mapped at once. It is only advice, so a refusal changes nothing.
func advise(b []byte, random bool) {
	if random {
		_ = syscall.Madvise(b, syscall.MADV_RANDOM)
	} else {
		_ = syscall.Madvise(b, syscall.MADV_WILLNEED)
	}
}
