// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// brokenOff is a pass that the kernel breaks off before each part.
type brokenOff struct {
	parts  []string
	broken bool
}

func (r *brokenOff) Close() error { return nil }
func (r *brokenOff) Read(b []byte) (int, error) {
	if r.broken = !r.broken; r.broken {
		return 0, &os.PathError{Op: "read", Path: "bpf_iter", Err: unix.EAGAIN}
	}
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.parts[0])
	r.parts = r.parts[1:]
	return n, nil
}

func TestIterGoesOn(t *testing.T) {
	got, err := io.ReadAll(patient{&brokenOff{parts: []string{"a", "bc", "d"}}})
	if string(got) != "abcd" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
