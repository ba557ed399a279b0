// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// psiReader reads the three files of /proc/pressure.
type psiReader struct {
	fs    FS
	files [3]*procFile // CPU, memory, I/O
	prev  PSI
	need  *NeedError // why there is none; nil when all three were read
}

func newPSIReader(fs FS) *psiReader {
	return &psiReader{fs: fs, files: [3]*procFile{
		fs.file("pressure/cpu"), fs.file("pressure/memory"), fs.file("pressure/io"),
	}}
}

// read returns the totals and what they grew by since the last read. A file that cannot be read
// leaves its Pressure unknown, and Err says why.
func (r *psiReader) read(ctx context.Context) PSI {
	var p PSI
	r.need = nil
	now := [...]*Pressure{&p.CPU, &p.Memory, &p.IO}
	was := [...]*Pressure{&r.prev.CPU, &r.prev.Memory, &r.prev.IO}
	for i, f := range r.files {
		b, err := f.read(ctx)
		if err == nil && len(b) == 0 {
			err = errMasked
		}
		if err == nil {
			var some, full time.Duration
			if some, full, err = parsePressure(b); err == nil {
				if i == 0 {
					full = 0 // the host as a whole cannot stall on CPU: some task is running
				}
				*now[i] = derivePressure(*was[i], some, full)
				continue
			}
		}
		if r.need == nil {
			r.need = whyNoPSI(r.fs, err)
		}
	}
	if r.need != nil {
		p.Err = r.need.Need
		if r.need.Remedy != "" {
			p.Err += ": " + r.need.Remedy
		}
	}
	r.prev = p
	return p
}

func (r *psiReader) close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.close())
	}
	r.prev = PSI{}
	return errors.Join(errs...)
}

// derivePressure adds the increase since prev, which is 0 without a previous reading and where a
// total went back.
func derivePressure(prev Pressure, some, full time.Duration) Pressure {
	p := Pressure{SomeTotal: some, FullTotal: full, Known: true}
	if prev.Known {
		p.Some = max(some-prev.SomeTotal, 0)
		p.Full = max(full-prev.FullTotal, 0)
	}
	return p
}

// errMasked says that a container runtime has put an empty file over the kernel's.
var errMasked = errors.New("empty")

// whyNoPSI says what is missing where a pressure file cannot be read. A kernel that was booted with
// psi=0 has no such files since 5.13 and refuses to read them before; nothing in /proc tells that
// apart from a kernel without PSI but the command line and, where it is installed, the
// configuration.
func whyNoPSI(fsys FS, err error) *NeedError {
	const boot = "boot with psi=1"
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return &NeedError{Need: "PSI is off", Remedy: boot, Err: err}
	case errors.Is(err, errMasked):
		return &NeedError{Need: "PSI is masked in this container", Remedy: "run outside the container", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &NeedError{Need: "PSI may not be read", Remedy: "run as root, outside a container", Err: err}
	case !errors.Is(err, fs.ErrNotExist):
		return &NeedError{Need: fmt.Sprintf("PSI cannot be read (%s)", Clean(RawString(err.Error()))), Err: err}
	}
	if line, err := fsys.text("cmdline"); err == nil && offOnCommandLine(line) {
		return &NeedError{Need: "PSI is off", Remedy: boot + " instead of psi=0", Err: err}
	}
	switch hasPSIConfig(fsys) {
	case configYes:
		return &NeedError{Need: "PSI is off", Remedy: boot, Err: err}
	case configNo:
		return &NeedError{Need: "this kernel has no PSI", Remedy: "needs a kernel with CONFIG_PSI", Err: err}
	case configUnknown:
	}
	return &NeedError{Need: "PSI is off", Remedy: boot + "; needs a kernel with CONFIG_PSI", Err: err}
}

// offOnCommandLine looks for the last psi= of the kernel's command line, which wins. The kernel's
// words for no are those of kstrtobool.
func offOnCommandLine(line string) bool {
	off := false
	for f := range bytes.FieldsSeq([]byte(line)) {
		if v, ok := bytes.CutPrefix(f, []byte("psi=")); ok && len(v) > 0 {
			switch v[0] {
			case '0', 'n', 'N', 'f', 'F':
				off = true
			case 'o', 'O':
				off = len(v) > 1 && (v[1] == 'f' || v[1] == 'F')
			default:
				off = false
			}
		}
	}
	return off
}

type configured uint8

const (
	configUnknown configured = iota
	configYes
	configNo
)

// hasPSIConfig looks into the installed configuration of the running kernel.
func hasPSIConfig(fsys FS) configured {
	release, err := fsys.text("sys/kernel/osrelease")
	if err != nil || release == "" || bytes.ContainsAny([]byte(release), "/\x00") {
		return configUnknown
	}
	b, err := fsys.readSome("../boot/config-"+release, 1<<20)
	if err != nil {
		return configUnknown
	}
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if string(line) == "CONFIG_PSI=y" {
			return configYes
		}
	}
	return configNo
}
