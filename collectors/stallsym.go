// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
)

// symbols names the functions of the running kernel by address, from /proc/kallsyms. It is read
// when the first address is asked for: 122,000 lines take 60 ms, and the text symbols among them
// 3 MiB. Names are what the kernel's builders and the authors of modules chose.
type symbols struct {
	path  string
	base  uint64   // of the lowest symbol
	addrs []uint32 // offsets from base, ascending; a kernel's text lies within 4 GiB
	names []uint32 // where each one's name begins in arena; it ends at a NUL
	arena []byte
	read  bool
	err   error // why there are none
}

// errHidden says that /proc/kallsyms shows every address as 0.
var errHidden = errors.New("addresses are hidden")

// at returns the name of the function that holds addr, false if there is none.
func (s *symbols) at(addr uint64) (string, bool) {
	if !s.read {
		s.read = true
		s.err = s.load()
	}
	if addr < s.base || addr-s.base > math.MaxUint32 || len(s.addrs) == 0 {
		return "", false
	}
	off := uint32(addr - s.base)
	i := sort.Search(len(s.addrs), func(i int) bool { return s.addrs[i] > off }) - 1
	if i < 0 {
		return "", false
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

func (s *symbols) load() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Room for a usual kernel, so that slices that grow do not leave as much behind.
	p := symbolParser{all: make([]symbol, 0, 128<<10), arena: make([]byte, 0, 3<<20)}
	buf, have := make([]byte, 64<<10), 0
	for {
		n, err := f.Read(buf[have:])
		have += n
		whole := bytes.LastIndexByte(buf[:have], '\n') + 1
		p.take(buf[:whole])
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
	p.take(buf[:have])
	return s.build(&p)
}

// symbol is a text symbol: its address, and where its name begins in the parser's arena.
type symbol struct {
	addr uint64
	name uint32
}

// symbolParser takes /proc/kallsyms in whole lines.
type symbolParser struct {
	all   []symbol
	arena []byte
	zeros int // text symbols whose address is hidden
}

// take reads lines like "ffffffff81000000 T _stext", and "… t name	[module]". Others are skipped.
func (p *symbolParser) take(b []byte) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		hex, rest := cutField(line)
		kind, rest := cutField(rest)
		name, _ := cutField(rest)
		if len(kind) != 1 || !isText(kind[0]) || len(name) == 0 || len(p.arena) > math.MaxInt32 {
			continue
		}
		addr, ok := parseHex(hex)
		switch {
		case !ok:
		case addr == 0:
			p.zeros++
		default:
			p.all = append(p.all, symbol{addr, uint32(len(p.arena))})
			p.arena = append(append(p.arena, name...), 0)
		}
	}
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

// build sorts what was taken. Of symbols of one address the first stands, and what lies beyond
// 4 GiB of the lowest is left out.
func (s *symbols) build(p *symbolParser) error {
	if len(p.all) == 0 {
		if p.zeros > 0 {
			return errHidden
		}
		return fmt.Errorf("no symbols: %w", errFormat)
	}
	slices.SortStableFunc(p.all, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	s.base, s.arena = p.all[0].addr, slices.Clip(p.arena)
	s.addrs, s.names = make([]uint32, 0, len(p.all)), make([]uint32, 0, len(p.all))
	for i, x := range p.all {
		if x.addr-s.base > math.MaxUint32 {
			break
		}
		if i > 0 && x.addr == p.all[i-1].addr {
			continue
		}
		s.addrs, s.names = append(s.addrs, uint32(x.addr-s.base)), append(s.names, x.name)
	}
	return nil
}
