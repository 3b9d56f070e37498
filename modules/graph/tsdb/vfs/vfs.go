// Package vfs is the little of a file system that the storage engine uses, as an
// interface, so that tests can make a disk full, torn or broken.
package vfs

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"syscall"
)

// A File is open for writing at its end.
type File interface {
	Write(p []byte) (int, error)
	// Sync returns when the data written so far, and the size, are on the disk.
	Sync() error
	Close() error
}

// FS creates, lists, maps and removes files. Paths are absolute or relative to
// the process.
type FS interface {
	// MkdirAll creates the folder and its parents, mode 0755.
	MkdirAll(dir string) error
	// Create opens a new or emptied file, mode 0644.
	Create(path string) (File, error)
	// Append opens a file at its end and creates it when missing.
	Append(path string) (File, error)
	// Truncate cuts a file to size bytes and syncs it.
	Truncate(path string, size int64) error
	Rename(from, to string) error
	Remove(path string) error
	// ReadDir returns the names in dir in ascending order.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes created, renamed and removed names of dir durable.
	SyncDir(dir string) error
	// Map returns the content of a file; random says that it will be read here
	// and there. The bytes must not be written to, and a disk that fails shows
	// as a memory fault (see runtime/debug.SetPanicOnFault). An empty file is nil.
	Map(path string, random bool) ([]byte, error)
	// Unmap gives back what Map returned.
	Unmap(b []byte) error
}

// OS is the operating system's file system.
type OS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// Create implements FS.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Append implements FS.
func (OS) Append(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Truncate implements FS.
func (OS) Truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// ReadDir implements FS.
func (OS) ReadDir(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	sort.Strings(names)
	return names, errors.Join(err, f.Close())
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Map implements FS.
func (OS) Map(path string, random bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	advise(b, random)
	return b, nil
}

// Unmap implements FS.
func (OS) Unmap(b []byte) error {
	if b == nil {
		return nil
	}
	return syscall.Munmap(b)
}
