// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpf60/bpf"
	"golang.org/x/sys/unix"
)

func TestSymbols(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/kallsyms"
	write := func(text string) *symbols {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return &symbols{path: path}
	}
	// name asks for an address alone, so that each is a pass of its own.
	name := func(s *symbols, addr uint64) string {
		s.at(addr)
		s.spent = 0
		if !s.find(time.Second) {
			t.Fatalf("no pass for %#x", addr)
		}
		name, ok := s.at(addr)
		if !ok {
			t.Fatalf("%#x is not known after a pass", addr)
		}
		return name
	}
	const list = "ffffffff81000000 T _stext\nffffffff81000000 T again\nffffffff81000010 t b\nffffffff81000018 D data\nffffffff81000020 W c\nffffffffc0000000 t far\t[nfs]\nffffffffb0000000 t near\t[xfs]\n"
	names := map[uint64]string{
		0xffffffff81000000: "_stext", 0xffffffff8100000f: "_stext", 0xffffffff81000010: "b", 0xffffffff8100001f: "b",
		0xffffffffc0000001: "far", 0xffffffffb0000001: "near", 0xffffffff80ffffff: "", 5: "",
	}
	for addr, want := range names {
		if got := name(write(list), addr); got != want {
			t.Errorf("name of %#x = %q, want %q", addr, got, want)
		}
	}
	together := write(list)
	for addr := range names {
		if got, ok := together.at(addr); ok {
			t.Errorf("%#x has the name %q before a pass", addr, got)
		}
	}
	together.find(0)
	for addr, want := range names {
		if got, ok := together.at(addr); got != want || !ok {
			t.Errorf("of all in one pass %#x = %q, want %q", addr, got, want)
		}
	}
	hidden := write("0000000000000000 T _stext\n0000000000000000 t b\n")
	if name(hidden, 1) != "" || !errors.Is(hidden.need(), errHidden) {
		t.Errorf("hidden addresses: need = %v", hidden.need())
	}
	if missing := (&symbols{path: dir + "/none"}); name(missing, 1) != "" || missing.need() == nil {
		t.Error("without the file there is no need")
	}
}

func TestSymbolsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kallsyms")
	if err := os.WriteFile(path, []byte("0000000000001000 t listed\n0000000000002000 t end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var fails error
	times := 0
	s := &symbols{path: path, ask: func(addrs []uint64, each func(bpf.Function)) error {
		times++
		for _, a := range addrs {
			switch a {
			case 0x7001:
				each(bpf.Function{Addr: a, From: 0x7000, To: 0x8000, Name: "far", Module: "nfs"})
			case 0x9001:
				each(bpf.Function{Addr: a, From: 0x9000, To: 0xa000, Name: "bpf_prog_6deef7357e7b4530_run"})
			default:
				each(bpf.Function{Addr: a, From: a &^ 0xfff, To: a&^0xfff + 0x1000, Name: "told"})
			}
		}
		return fails
	}}
	s.at(0x1001)
	s.at(0x7001)
	s.at(0x9001)
	if !s.find(0) {
		t.Fatal("nobody was asked")
	}
	for addr, want := range map[uint64]string{0x1001: "told", 0x1fff: "told", 0x7001: "far", 0x7002: "", 0x9001: "bpf_prog_6deef7357e7b4530_run", 0x9002: "", 0x2000: ""} {
		if got, ok := s.at(addr); got != want || ok != (want != "") {
			t.Errorf("%#x is %q, %v, want %q", addr, got, ok, want)
		}
	}
	s.known, s.asked, fails = nil, nil, errors.New("no such helper")
	for range maxDumb + 1 {
		s.known, s.spent = nil, 0
		s.at(0x1001)
		if !s.find(0) {
			t.Fatal("no pass")
		}
		if got, _ := s.at(0x1001); got != "listed" {
			t.Errorf("without the kernel's answer the name is %q", got)
		}
	}
	if times != 1+maxDumb || s.need() != nil {
		t.Errorf("the kernel was asked %d times, want %d: then it is known that it cannot tell; need %v", times, 1+maxDumb, s.need())
	}
}

func TestSymbolsNameless(t *testing.T) {
	s := &symbols{path: filepath.Join(t.TempDir(), "none"), ask: func(addrs []uint64, each func(bpf.Function)) error {
		for _, a := range addrs {
			each(bpf.Function{Addr: a, From: a, To: a + 1})
		}
		return nil
	}}
	s.at(0x1001)
	if !s.find(0) || s.need() == nil {
		t.Errorf("need = %v, want the list and CONFIG_KALLSYMS", s.need())
	}
}

func TestSymbolsPause(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kallsyms")
	const list = "ffffffff81000000 T _stext\nffffffff81000100 t b\nffffffff81000200 t end\nffffffffc0000000 t far\t[nfs]\nffffffffc0000100 t more\t[nfs]\n"
	if err := os.WriteFile(path, []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &symbols{path: path}
	s.at(0xffffffffc0000001)
	if !s.find(time.Hour) {
		t.Fatal("no first pass")
	}
	if name, ok := s.at(0xffffffffc0000001); name != "far" || !ok {
		t.Errorf("at = %q, %v, want far", name, ok)
	}
	if paid := s.spent - (time.Hour - symbolCredit); paid <= 0 || paid > symbolPause {
		t.Errorf("a pass costs %v, want more than none, and %v at most", paid, symbolPause)
	}
	s.at(0xffffffff81000001)
	if s.spent = 2 * time.Hour; s.find(s.spent - 1) {
		t.Error("a pass that is not paid for")
	}
	if !s.find(s.spent) {
		t.Error("no pass when it is time")
	}
	for addr, want := range map[uint64]bool{
		0xffffffff81000000: true, 0xffffffff810000ff: true, 0xffffffff81000100: false, 0xffffffff80ffffff: false,
		0xffffffffc0000001: true, 0xffffffffc0000010: false,
	} {
		if name, ok := s.at(addr); ok != want {
			t.Errorf("at(%#x) = %q, %v, want it known: %v", addr, name, ok, want)
		}
	}
}

func TestSymbolsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kallsyms")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &symbols{path: path}
	s.at(0xffffffff81000010)
	done := make(chan bool)
	go func() { done <- s.find(time.Second) }()
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // until the pass has begun
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := s.at(0xffffffff81000011); ok {
		t.Errorf("known while it is looked for: %q", name)
	}
	if s.find(time.Second) {
		t.Error("two passes at once")
	}
	if _, err := f.WriteString("ffffffff81000000 T _stext\nffffffff81000100 t b\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if !<-done {
		t.Error("no pass")
	}
	if s.find(time.Hour) {
		t.Error("a second pass for what the first found")
	}
	if name, _ := s.at(0xffffffff81000011); name != "_stext" {
		t.Errorf("the name is %q, want _stext", name)
	}
}

func TestSymbolsLive(t *testing.T) {
	b, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		lacking(t, "needs /proc/kallsyms: %v", err)
	}
	k := bpf.Inspect()
	s, asked := symbols{path: "/proc/kallsyms"}, symbols{path: "/proc/kallsyms"}
	asked.ask = func(addrs []uint64, each func(bpf.Function)) error { return bpf.Functions(k, addrs, each) }
	want := map[uint64]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[2] != "schedule" && f[2] != "do_exit" && f[2] != "vfs_read" {
			continue
		}
		addr, _ := parseHex([]byte(f[0]))
		if addr == 0 {
			lacking(t, "needs addresses (kernel.kptr_restrict)")
		}
		s.at(addr + 4)
		asked.at(addr + 4)
		want[addr+4] = f[2]
	}
	if len(want) != 3 || !s.find(0) || !asked.find(0) {
		t.Fatalf("%d of 3 functions looked for", len(want))
	}
	for addr, name := range want {
		for by, s := range map[string]*symbols{"the list": &s, "the kernel": &asked} {
			if got, ok := s.at(addr); got != name || !ok {
				t.Errorf("by %s at(%#x) = %q, want %q", by, addr, got, name)
			}
			if got, ok := s.at(addr + 1); got != name || !ok {
				t.Errorf("by %s a second place in %s is %q", by, name, got)
			}
		}
	}
}

func BenchmarkSymbols(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := symbols{path: "/proc/kallsyms"}
		s.at(0xffffffff81000100)
		s.find(0)
	}
}
