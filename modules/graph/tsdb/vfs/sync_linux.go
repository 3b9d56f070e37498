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
