// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"io"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// openIter begins a pass of an iterator.
func openIter(it *link.Iter) (io.ReadCloser, error) {
	r, err := it.Open()
	if err != nil {
		return nil, err //nolint:wrapcheck // who opens says what
	}
	return patient{r}, nil
}

// patient goes on with a pass that the kernel broke off: after a million objects of which a program told
// nothing a read ends with EAGAIN, and the next one begins where it was.
type patient struct{ io.ReadCloser }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.ReadCloser.Read(b)
		if n > 0 || !errors.Is(err, unix.EAGAIN) {
			return n, err //nolint:wrapcheck // io.EOF, above all: who reads says what of
		}
	}
}
