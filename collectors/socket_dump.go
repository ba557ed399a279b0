// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// diagSource dumps sockets; *diagSocket does, and the tests' own.
type diagSource interface {
	Dump(ctx context.Context, family uint8, each func(*diagMsg)) error
	Close() error
}

// diagSocket is a netlink socket of NETLINK_SOCK_DIAG. It sees the network namespace of the thread
// that opened it. It belongs to one goroutine.
type diagSocket struct {
	fd     int
	states uint32 // a bit for each state that is dumped
	seq    uint32
	buf    []byte
	msg    diagMsg
}

// The kernel fills a datagram of a dump with at most 32 KiB (netlink_dump).
const diagBuf = 64 << 10

// diagTimeout bounds how long a reply may take. The kernel answers while we ask, so that a dump
// that is silent for so long is broken.
const diagTimeout = 1 // second

// dumpedStates are all but TIME-WAIT, of which there may be a hundred thousand that move no byte
// (sockstat counts them), and CLOSE, which is in no table.
const dumpedStates = 1<<SocketStates - 1 - 1 - 1<<TimeWait - 1<<Closed

// openDiag opens the socket. It needs no privilege.
func openDiag() (diagSource, error) { return openDiagOf(dumpedStates) }

// openDiagOf opens a socket that dumps some states only.
func openDiagOf(states uint32) (diagSource, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, diagNeed(fmt.Errorf("opening a sock_diag socket: %w", err))
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTimeout})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing a sock_diag socket: %w", err), unix.Close(fd))
	}
	return &diagSocket{fd: fd, states: states, buf: make([]byte, diagBuf)}, nil
}

// diagNeed says what is missing where the kernel refuses.
func diagNeed(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return &NeedError{Need: "the kernel's tcp_diag", Remedy: "modprobe tcp_diag, or a kernel with CONFIG_INET_TCP_DIAG", Err: err}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EAFNOSUPPORT):
		return &NeedError{Need: "a netlink socket", Remedy: "allow AF_NETLINK where bpf60 runs (seccomp, RestrictAddressFamilies)", Err: err}
	}
	return err
}

// Dump calls each with every TCP socket of a family. The message is valid during the call only.
func (d *diagSocket) Dump(ctx context.Context, family uint8, each func(*diagMsg)) error {
	d.seq++
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Sendto(d.fd, diagRequest(family, d.states, d.seq), 0, to); err != nil {
		return fmt.Errorf("asking for sockets: %w", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A datagram that does not fit is cut off, which the parser finds.
		n, err := unix.Read(d.fd, d.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("reading sockets: %w", err)
		case n >= nlHeader && u32(d.buf, 8) != d.seq:
			continue // of a dump that was given up
		}
		err = parseDiag(d.buf[:n], &d.msg, each)
		if errors.Is(err, errDone) {
			return nil
		}
		if err != nil {
			return diagNeed(fmt.Errorf("reading sockets: %w", err))
		}
	}
}

// Close closes the socket.
func (d *diagSocket) Close() error { return unix.Close(d.fd) }
