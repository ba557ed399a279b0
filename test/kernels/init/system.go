// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"bpf60/test/kernels/wire"
)

// ownTracefs is where init itself looks at tracefs, between steps only: libraries search the list
// of mounts, and a step that is to find no tracefs must find none.
const ownTracefs = "/run/init-tracefs"

func mountAll() error {
	for _, m := range []struct{ kind, dir, options string }{
		{"devtmpfs", "/dev", ""},
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"tmpfs", "/tmp", "mode=1777"},
		{"tmpfs", "/run", "mode=0755"},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"securityfs", "/sys/kernel/security", ""},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", m.dir, err)
		}
		if err := syscall.Mount(m.kind, m.dir, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.dir, err)
		}
	}
	if err := os.Mkdir(ownTracefs, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", ownTracefs, err)
	}
	return syscall.Sethostname([]byte("matrix"))
}

// openPort opens a serial port for binary output: no line editing, no \n to \r\n.
func openPort(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the port for records: %w", err)
	}
	t := syscall.Termios{Cflag: syscall.CS8 | syscall.CREAD | syscall.CLOCAL | syscall.B115200}
	t.Cc[syscall.VMIN] = 1
	if err := ioctl(f.Fd(), syscall.TCSETS, unsafe.Pointer(&t)); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", path, err)
	}
	return f, nil
}

// drain waits until the port has sent all: TCSBRK with an argument is tcdrain.
func drain(f *os.File) {
	const tcsbrk = 0x5409
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), tcsbrk, 1)
}

func ioctl(fd uintptr, request uintptr, arg unsafe.Pointer) error {
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

// loopbackUp gives the tests a network to talk to themselves over.
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	defer syscall.Close(s)
	var req struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	if err := ioctl(uintptr(s), syscall.SIOCSIFFLAGS, unsafe.Pointer(&req)); err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	return nil
}

// loadModules gives the tests what the kernel has not built in.
func loadModules() error {
	var errs []error
	for _, m := range wire.Modules() {
		errs = append(errs, loadModule(wire.ModulePath(m)))
	}
	return errors.Join(errs...)
}

// loadModule loads a module if it is there: a boot without tests has none.
func loadModule(path string) error {
	const sysFinitModule = 313 // finit_module(2) on amd64; the syscall package predates it
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading a module: %w", err)
	}
	defer f.Close()
	none := [1]byte{} // its options
	if _, _, e := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(&none)), 0); e != 0 {
		return fmt.Errorf("loading %s: %w", path, e)
	}
	return nil
}

func identity() (*wire.Boot, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's release: %w", err)
	}
	command, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's command line: %w", err)
	}
	return &wire.Boot{
		Release: strings.TrimSpace(string(release)),
		Command: strings.TrimSpace(string(command)),
	}, nil
}

// kernelLog reads the whole log through /dev/kmsg, whatever the console was told to leave out.
func kernelLog() []string {
	f, err := syscall.Open("/dev/kmsg", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return []string{"BUG: init cannot read /dev/kmsg: " + err.Error()} // counts as a splat: nothing was checked
	}
	defer syscall.Close(f)
	var log []string
	for buf := make([]byte, 8192); ; {
		n, err := syscall.Read(f, buf)
		switch {
		case errors.Is(err, syscall.EPIPE): // the ring went round: go on with the oldest there is
			continue
		case err != nil || n <= 0:
			return log
		}
		_, text, _ := bytes.Cut(buf[:n], []byte(";")) // "level,seq,usec,flags;text\n key=value…"
		text, _, _ = bytes.Cut(text, []byte("\n"))
		log = append(log, string(text))
	}
}
