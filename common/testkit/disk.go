package testkit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A Disk is a small file system of its own, in memory.
type Disk struct {
	t   testing.TB
	dir string
}

// SmallDisk mounts a file system of size bytes at dir, which is made, until the test ends.
// Where nothing may be mounted the test is skipped.
func SmallDisk(t testing.TB, dir string, size string) *Disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); errors.Is(err, syscall.EPERM) {
		t.Skipf("a file system can not be mounted here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &Disk{t, dir}
}

const filler = "filler"

// Fill leaves no byte on the disk, also when others make room meanwhile and it is called
// again.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, filler), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) || errors.Is(err, io.ErrShortWrite) {
			if n == 0 {
				size /= 2
			}
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

// Free takes away what Fill has written.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, filler)); err != nil {
		d.t.Fatal(err)
	}
}

// ReadOnly has the disk take nothing any more. No file may be open for writing.
func (d *Disk) ReadOnly() {
	d.t.Helper()
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		d.t.Fatal(err)
	}
}

// Writable takes ReadOnly back.
func (d *Disk) Writable() {
	d.t.Helper()
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, ""); err != nil {
		d.t.Fatal(err)
	}
}
