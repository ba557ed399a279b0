// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"bpf60/bpf"
)

// symbols names functions of the running kernel by address: the kernel is asked, and where it cannot tell
// /proc/kallsyms is read. Only the functions that were asked for are kept: a kernel has 122,000, which
// would be 4 MiB, and some hundred places to wait. A function that is new takes a program to load, 3 ms,
// or a pass over the list, 60 ms, so they are collected and looked for together, not too often, and for all
// collectors of a tree at once: its methods may be called from any goroutine. Names are what the kernel's
// builders and the authors of modules chose.
type symbols struct {
	path string
	ask  func(addrs []uint64, each func(bpf.Function)) error // bpf.Functions; nil: there is the list alone

	mu    sync.Mutex
	known []function      // ascending, none overlaps another
	asked map[uint64]bool // addresses that lie in none of them
	busy  bool            // a pass is under way
	spent time.Duration   // when the passes so far are paid for
	dumb  int             // times in a row that the kernel was asked and did not answer
	err   error           // why there are no names
}

// function is a piece of the kernel's text, from its first address to the one after its last, and what it
// is called; "" where no function is.
type function struct {
	from, to uint64
	name     string
}

const (
	// maxSymbols bounds the functions that are known, and the addresses looked for in one pass.
	maxSymbols = 16 << 10
	// symbolShare is how much longer than the passes the time for them is: half a percent of a CPU.
	symbolShare = 200
	// symbolCredit is how much of that time is saved up at most: two or three passes one after another,
	// as who opens a page is to see names soon.
	symbolCredit = 30 * time.Second
	// maxDumb is how often in a row the kernel may fail to answer before it is not asked again.
	maxDumb = 3
	// symbolPause bounds what one pass costs of it, on a host that lets it wait itself.
	symbolPause = 15 * time.Second
)

// errNameless says that the kernel knows no function at any address.
var errNameless = errors.New("no address has a name")

// errHidden says that /proc/kallsyms shows every address as 0.
var errHidden = errors.New("addresses are hidden")

// at returns the name of the function that holds addr: "" if there is none. False: it will be looked
// for in the next pass.
func (s *symbols) at(addr uint64) (name string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok = s.lookup(addr); !ok && len(s.asked) < maxSymbols {
		if s.asked == nil {
			s.asked = make(map[uint64]bool)
		}
		s.asked[addr] = true
	}
	return name, ok
}

func (s *symbols) lookup(addr uint64) (name string, ok bool) {
	i := sort.Search(len(s.known), func(i int) bool { return s.known[i].to > addr })
	if i == len(s.known) || s.known[i].from > addr {
		return "", false
	}
	return s.known[i].name, true
}

// find looks for the addresses that were asked for, unless there were too many passes of late or
// somebody else is looking. It returns whether it has.
func (s *symbols) find(now time.Duration) bool {
	s.mu.Lock()
	for addr := range s.asked { // another pass may have found its function
		if _, ok := s.lookup(addr); ok {
			delete(s.asked, addr)
		}
	}
	if len(s.asked) == 0 || s.busy || now < s.spent {
		s.mu.Unlock()
		return false
	}
	addrs, ask := slices.Sorted(maps.Keys(s.asked)), s.ask
	s.asked, s.busy = nil, true
	s.mu.Unlock()

	began := bootNs()
	found, err := askKernel(ask, addrs)
	dumb := ask != nil && err != nil
	if err != nil {
		found, err = searchList(s.path, addrs)
	}
	took := min(time.Duration(bootNs()-began)*symbolShare, symbolPause)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.busy = err, false
	switch {
	case !dumb:
		s.dumb = 0
	case s.dumb+1 >= maxDumb:
		s.ask = nil
	default:
		s.dumb++
	}
	s.spent = max(s.spent, now-symbolCredit) + took
	s.keep(found)
	return true
}

// askKernel names the functions at addrs, ascending: whole functions of the kernel itself, and of modules
// and programs, which come and go, no more than the address that was asked for. A kernel without
// CONFIG_KALLSYMS answers with bare numbers: that is an error.
func askKernel(ask func([]uint64, func(bpf.Function)) error, addrs []uint64) ([]function, error) {
	if ask == nil {
		return nil, errors.ErrUnsupported
	}
	out, named := make([]function, 0, len(addrs)), false
	err := ask(addrs, func(f bpf.Function) {
		if f.Module != "" || isProgram(f.Name) {
			f.From, f.To = f.Addr, f.Addr+1
		}
		named = named || f.Name != ""
		out = append(out, function{f.From, f.To, f.Name})
	})
	if err == nil && !named {
		err = errNameless
	}
	return out, err
}

// isProgram says whether a name may be that of code which the kernel makes as it runs: its module is named
// in the list, but not by %pS (kernel/kallsyms.c, __sprint_symbol).
func isProgram(name string) bool {
	return strings.HasPrefix(name, "bpf_") || strings.HasPrefix(name, "ftrace_trampoline") || strings.HasPrefix(name, "kprobe_")
}

// searchList does the same from the list at path. Where it cannot be read there are no names.
func searchList(path string, addrs []uint64) ([]function, error) {
	w := newSearch(addrs)
	err := w.read(path)
	if err != nil { // half a list names the wrong ones
		for i := range w.want {
			w.want[i] = wanted{addr: w.want[i].addr}
		}
	}
	return w.functions(), err
}

// keep adds functions. Two addresses that were asked for may lie in one.
func (s *symbols) keep(more []function) {
	if len(s.known)+len(more) > maxSymbols {
		s.known = nil
	}
	all := append(slices.Clone(s.known), more...)
	sortBy(all, func(a, b function) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	s.known = all[:0]
	for _, f := range all {
		if n := len(s.known); n == 0 || s.known[n-1].to <= f.from {
			s.known = append(s.known, f)
		}
	}
}

// need says why there are no names, nil when there are, or nobody asked for one.
func (s *symbols) need() *NeedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err == nil:
		return nil
	case errors.Is(s.err, errHidden):
		return &NeedError{Need: "addresses in /proc/kallsyms", Remedy: "run as root or with CAP_SYSLOG, and kernel.kptr_restrict at most 1", Err: s.err}
	}
	return &NeedError{Need: "/proc/kallsyms", Remedy: "needs a kernel with CONFIG_KALLSYMS, and /proc not masked", Err: s.err}
}

// breath is after how many bytes of the list others are let in between, some 10 ms: we may run ahead of
// everybody, in real time.
const breath = 512 << 10

// wanted is an address that is looked for, and the function nearest to it that begins there or below. It
// ends where the next one begins.
type wanted struct {
	addr, from, to uint64
	name           []byte
	stays, ends    bool // both are the kernel's own, which never move
}

// search is one pass over the list.
type search struct {
	want          []wanted // ascending
	shown, hidden int      // functions with an address, and with 0 in its place
}

// newSearch is for addresses in ascending order.
func newSearch(addrs []uint64) *search {
	s := &search{want: make([]wanted, 0, len(addrs))}
	for _, a := range addrs {
		s.want = append(s.want, wanted{addr: a})
	}
	return s
}

func (s *search) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, have, read := make([]byte, 64<<10), 0, 0
	for {
		n, err := f.Read(buf[have:])
		have += n
		whole := bytes.LastIndexByte(buf[:have], '\n') + 1
		s.take(buf[:whole])
		if read += whole; read > breath {
			read = 0
			time.Sleep(time.Millisecond)
		}
		copy(buf, buf[whole:have])
		if have -= whole; have == len(buf) {
			return fmt.Errorf("reading %s: %w", path, errFormat)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
	s.take(buf[:have])
	return s.settle()
}

// take reads lines like "ffffffff81000000 T _stext", and "… t name	[module]". Others are skipped.
func (s *search) take(b []byte) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		hex, rest := cutField(line)
		kind, rest := cutField(rest)
		name, rest := cutField(rest)
		if len(kind) != 1 || !isText(kind[0]) || len(name) == 0 {
			continue
		}
		addr, ok := parseHex(hex)
		switch {
		case !ok:
			continue
		case addr == 0:
			s.hidden++
			continue
		}
		s.shown++
		own := bytes.IndexByte(rest, '[') < 0 // else of a module, which may go
		// It is the nearest of the first address at it or above, or of none; settle sees to the rest. Of
		// several names of one address the first counts.
		i := sort.Search(len(s.want), func(i int) bool { return s.want[i].addr >= addr })
		if i < len(s.want) && addr > s.want[i].from {
			s.want[i].from, s.want[i].stays, s.want[i].name = addr, own, append(s.want[i].name[:0], name...)
		}
		if i--; i >= 0 && (s.want[i].to == 0 || addr < s.want[i].to) {
			s.want[i].to, s.want[i].ends = addr, own
		}
	}
}

// settle hands functions on to the addresses above that have no nearer one.
func (s *search) settle() error {
	if s.shown == 0 {
		if s.hidden > 0 {
			return errHidden
		}
		return fmt.Errorf("no symbols: %w", errFormat)
	}
	for i := 1; i < len(s.want); i++ {
		if was, w := s.want[i-1], &s.want[i]; was.from > w.from {
			w.from, w.name, w.stays = was.from, was.name, was.stays
		}
	}
	for i := len(s.want) - 2; i >= 0; i-- {
		if w, above := &s.want[i], s.want[i+1]; w.to == 0 {
			w.to, w.ends = above.to, above.ends
		}
	}
	return nil
}

// functions are what was found, ascending: whole functions of the kernel itself, and of modules, which
// come and go, no more than the address that was asked for.
func (s *search) functions() []function {
	out := make([]function, 0, len(s.want))
	for _, w := range s.want {
		f := function{from: w.addr, to: w.addr + 1, name: string(w.name)}
		if w.stays && w.ends {
			f.from, f.to = w.from, w.to
		}
		out = append(out, f)
	}
	return out
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
