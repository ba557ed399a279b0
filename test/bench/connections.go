// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// connections makes n short TCP connections over the loopback, each with five bytes.
func connections(n int) error {
	listener, at, err := listening([4]byte{127, 0, 0, 1})
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	for range n {
		if err := connection(listener, at); err != nil {
			return err
		}
	}
	return nil
}

// listening opens a socket that listens at any port of an address.
func listening(addr [4]byte) (fd int, at unix.Sockaddr, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("opening a socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr}); err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("binding a socket: %w", err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("listening: %w", err)
	}
	if at, err = unix.Getsockname(fd); err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("asking for a socket's address: %w", err)
	}
	return fd, at, nil
}

func connection(listener int, at unix.Sockaddr) error {
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, at); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	defer unix.Close(server)
	var b [5]byte
	if _, err := unix.Write(client, b[:]); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if _, err := unix.Read(server, b[:]); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}
