// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"time"
)

// symbols names the functions of the running kernel by address, from /proc/kallsyms. It is read
// when the first address is asked for: 122,000 lines take 60 ms, and are kept in 4 MiB. Names are
// what the kernel's builders and the authors of modules chose.
type symbols struct {
	path string
	symbolTable
	read bool
	err  error // why there are none
}

// symbolTable holds functions in three slices, without a pointer or a string for each.
type symbolTable struct {
	base  uint64   // 2 GiB below the first symbol: a kernel's and its modules' text lies within 4 GiB
	addrs []uint32 // offsets from base, ascending once sorted
	names []uint32 // where each one's name begins in arena; it ends at a NUL
	arena []byte
	zeros int // functions whose address is hidden
}

// errHidden says that /proc/kallsyms shows every address as 0.
var errHidden = errors.New("addresses are hidden")

// at returns the name of the function that holds addr, false if there is none.
func (s *symbols) at(addr uint64) (string, bool) {
	if !s.read {
		s.read = true
		s.err = s.load()
	}
	if addr < s.base || addr-s.base > math.MaxUint32 {
		return "", false
	}
	off := uint32(addr - s.base)
	i := sort.Search(len(s.addrs), func(i int) bool { return s.addrs[i] > off }) - 1
	if i < 0 {
		return "", false
	}
	for i > 0 && s.addrs[i-1] == s.addrs[i] { // of several names of one address the first
		i--
	}
	name := s.arena[s.names[i]:]
	return string(name[:max(bytes.IndexByte(name, 0), 0)]), true
}

// need says why there are no names, nil when there are, or nobody asked for one.
func (s *symbols) need() *NeedError {
	switch {
	case s.err == nil:
		return nil
	case errors.Is(s.err, errHidden):
		return &NeedError{Need: "addresses in /proc/kallsyms", Remedy: "run as root or with CAP_SYSLOG, and kernel.kptr_restrict at most 1", Err: s.err}
	}
	return &NeedError{Need: "/proc/kallsyms", Remedy: "needs a kernel with CONFIG_KALLSYMS, and /proc not masked", Err: s.err}
}

// Room for a usual kernel: slices that grow leave as much behind as they hold.
const (
	usualSymbols = 128 << 10
	usualArena   = 3 << 20

	breath = 512 << 10 // bytes of the list, some 10 ms
)

func (s *symbols) load() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.symbolTable = symbolTable{
		addrs: make([]uint32, 0, usualSymbols), names: make([]uint32, 0, usualSymbols), arena: make([]byte, 0, usualArena),
	}
	buf, have, read := make([]byte, 64<<10), 0, 0
	for {
		n, err := f.Read(buf[have:])
		have += n
		whole := bytes.LastIndexByte(buf[:have], '\n') + 1
		s.take(buf[:whole])
		// We may run ahead of everybody, in real time: let others in between.
		if read += whole; read > breath {
			read = 0
			time.Sleep(time.Millisecond)
		}
		copy(buf, buf[whole:have])
		if have -= whole; have == len(buf) {
			return fmt.Errorf("reading %s: %w", s.path, errFormat)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.path, err)
		}
	}
	s.take(buf[:have])
	return s.build()
}

// take reads lines like "ffffffff81000000 T _stext", and "… t name	[module]". Others are skipped,
// and what lies 2 GiB away from the first.
func (s *symbolTable) take(b []byte) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		hex, rest := cutField(line)
		kind, rest := cutField(rest)
		name, _ := cutField(rest)
		if len(kind) != 1 || !isText(kind[0]) || len(name) == 0 || len(s.arena) > math.MaxInt32 {
			continue
		}
		addr, ok := parseHex(hex)
		if !ok {
			continue
		}
		if addr == 0 {
			s.zeros++
			continue
		}
		if len(s.addrs) == 0 {
			s.base = addr - min(addr, 1<<31)
		}
		if addr < s.base || addr-s.base > math.MaxUint32 {
			continue
		}
		s.addrs, s.names = append(s.addrs, uint32(addr-s.base)), append(s.names, uint32(len(s.arena)))
		s.arena = append(append(s.arena, name...), 0)
	}
}

// build puts what was taken in order: the kernel lists its own functions so, and those of modules
// after them as they were loaded.
func (s *symbolTable) build() error {
	if len(s.addrs) == 0 {
		if s.zeros > 0 {
			return errHidden
		}
		return fmt.Errorf("no symbols: %w", errFormat)
	}
	if !sort.IsSorted(s) {
		sort.Stable(s)
	}
	return nil
}

// Len, Less and Swap implement sort.Interface, in place.
func (s *symbolTable) Len() int           { return len(s.addrs) }
func (s *symbolTable) Less(i, j int) bool { return s.addrs[i] < s.addrs[j] }
func (s *symbolTable) Swap(i, j int) {
	s.addrs[i], s.addrs[j] = s.addrs[j], s.addrs[i]
	s.names[i], s.names[j] = s.names[j], s.names[i]
}

// isText says whether a symbol's type is code: t and T, weak ones w and W.
func isText(kind byte) bool { return kind == 't' || kind == 'T' || kind == 'w' || kind == 'W' }

// parseHex reads a whole field as a hexadecimal number of at most 16 digits.
func parseHex(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
