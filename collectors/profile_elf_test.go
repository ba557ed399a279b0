// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

// noDebug is a host without debug files.
func noDebug(string) (*elfFile, func()) { return nil, nil }

// TestReadModule reads this program: its symbols, and the table that stays when it is stripped of them, which
// say the same.
func TestReadModule(t *testing.T) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := readModule(f, uint64(st.Size()), maxTableBytes, noDebug)
	if err != nil || len(m.functions.all) < 5000 {
		t.Fatalf("readModule: %v, %d functions", err, len(m.functions.all))
	}
	e, err := openELF(f, uint64(st.Size()))
	if err != nil {
		t.Fatal(err)
	}
	left := functionTable{room: maxTableBytes}
	if err := e.goFunctions(&left); err != nil {
		t.Fatal(err)
	}
	left.sort()
	same := 0
	for _, x := range left.all {
		name, ok := left.at(x.addr)
		if !ok || !strings.HasPrefix(name, "bpf60/collectors.") {
			continue
		}
		if same++; same > 100000 {
			break
		}
		if want, _ := m.functions.at(x.addr); want != name {
			t.Fatalf("at %#x: %q in Go's table, %q in the symbols", x.addr, name, want)
		}
	}
	if same < 1000 {
		t.Errorf("%d functions of this package in Go's table", same)
	}
	if _, err := readModule(f, uint64(st.Size()), 1000, noDebug); err != nil {
		t.Errorf("readModule with little room: %v", err)
	}
}

// TestReadVDSO reads the functions that the kernel maps into this process.
func TestReadVDSO(t *testing.T) {
	maps, err := NewFS("").readMaps(t.Context(), Process{TGID: int32(os.Getpid()), Start: startOfSelf(t)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maps {
		if maps[i].path != "[vdso]" {
			continue
		}
		m, err := NewFS("").readMapped(int32(os.Getpid()), &maps[i], maxTableBytes)
		if err != nil || len(m.functions.all) == 0 {
			t.Errorf("readMapped(vdso): %v", err)
		}
		return
	}
	t.Skip("this kernel maps no vdso")
}

// startOfSelf is when this process began.
func startOfSelf(t *testing.T) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	var s pidStat
	if err == nil {
		err = parsePIDStat(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.StartTicks * tickNs
}

func TestReadMapsOfAnother(t *testing.T) {
	_, err := NewFS("").readMaps(t.Context(), Process{TGID: int32(os.Getpid()), Start: startOfSelf(t) + 5*tickNs})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("readMaps of a process that began later: %v, want %v", err, os.ErrNotExist)
	}
}

// smallELF is a 64-bit file with one segment and the symbols of two functions.
func smallELF() []byte {
	b := make([]byte, 0x400)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint64(b[32:], 64)    // segments
	le.PutUint64(b[40:], 0x200) // sections
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 3)
	p := b[64:]
	le.PutUint32(p, elfLoad)
	le.PutUint64(p[8:], 0x1000)
	le.PutUint64(p[16:], 0x401000)
	le.PutUint64(p[32:], 0x500)
	symbols, names := b[0x100:], b[0x180:]
	copy(names, "\x00alpha\x00beta\x00")
	for i, s := range []struct {
		name       uint32
		addr, size uint64
	}{{}, {1, 0x401100, 0x40}, {7, 0x401140, 0x40}} {
		at := symbols[24*i:]
		le.PutUint32(at, s.name)
		at[4] = elfFunction
		le.PutUint16(at[6:], 1)
		le.PutUint64(at[8:], s.addr)
		le.PutUint64(at[16:], s.size)
	}
	for i, s := range []struct {
		kind, link       uint32
		off, size, entry uint64
	}{{}, {elfSymbols, 2, 0x100, 72, 24}, {3, 0, 0x180, 12, 0}} {
		at := b[0x200+64*i:]
		le.PutUint32(at[4:], s.kind)
		le.PutUint64(at[24:], s.off)
		le.PutUint64(at[32:], s.size)
		le.PutUint32(at[40:], s.link)
		le.PutUint64(at[56:], s.entry)
	}
	return b
}

func TestSmallELF(t *testing.T) {
	m, err := readModule(strings.NewReader(string(smallELF())), 0x400, maxTableBytes, noDebug)
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[uint64]string{0x1100: "alpha", 0x113f: "alpha", 0x1150: "beta", 0x1180: "", 0x10: "", 0x1600: ""} {
		if name, _, _ := m.at(off); name != want {
			t.Errorf("at(%#x) = %q, want %q", off, name, want)
		}
	}
	if _, where, _ := m.at(0x1180); where != 0x401180 {
		t.Errorf("an offset without a name is %#x in memory, want 0x401180", where)
	}
}

// goELF is a 64-bit file without symbols: of its table of Go's functions each has a name that is the end of
// the one before, as names may overlap. The last ends at the end of the section.
func goELF(functions, nameBytes int) []byte {
	le := binary.LittleEndian
	const head = 8 + 8*8
	table := make([]byte, head+nameBytes+1)
	le.PutUint32(table, goTable120)
	table[6], table[7] = 1, 8
	le.PutUint64(table[8:], uint64(functions))
	le.PutUint64(table[8+3*8:], head)
	le.PutUint64(table[8+7*8:], uint64(len(table)))
	for i := range nameBytes {
		table[head+i] = 'a' + byte(i%26)
	}
	entries := 8*functions + 4
	for i := range functions {
		table = le.AppendUint32(le.AppendUint32(table, uint32(16*i)), uint32(entries+8*i))
	}
	table = le.AppendUint32(table, uint32(16*functions))
	for i := range functions {
		table = le.AppendUint32(le.AppendUint32(table, uint32(16*i)), uint32(i))
	}
	const at, names = 0x400, "\x00.text\x00.gopclntab\x00"
	b := smallELF()
	le.PutUint16(b[60:], 4)
	le.PutUint16(b[62:], 3)
	for i, s := range []struct {
		name, kind      uint32
		addr, off, size uint64
	}{{}, {1, 1, 0x401000, 0, 0}, {7, 1, 0, at, uint64(len(table))}, {0, 3, 0, at + uint64(len(table)), uint64(len(names))}} {
		h := b[0x200+64*i : 0x240+64*i]
		clear(h)
		le.PutUint32(h, s.name)
		le.PutUint32(h[4:], s.kind)
		le.PutUint64(h[16:], s.addr)
		le.PutUint64(h[24:], s.off)
		le.PutUint64(h[32:], s.size)
	}
	return append(append(b, table...), names...)
}

// TestGoTable: what a table of Go's functions says is bounded, as everything of a file: names that overlap
// are no reason to keep all of each.
func TestGoTable(t *testing.T) {
	read := func(b []byte, room int) *module {
		t.Helper()
		m, err := readModule(strings.NewReader(string(b)), uint64(len(b)), room, noDebug)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := read(goELF(3, 5), maxTableBytes)
	for off, want := range map[uint64]string{0x1000: "abcde", 0x101f: "bcde", 0x1020: "cde", 0x1030: ""} {
		if name, _, _ := m.at(off); name != want {
			t.Errorf("at(%#x) = %q, want %q", off, name, want)
		}
	}
	const room = 1 << 20
	hostile := goELF(5000, 200_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m = read(hostile, room)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; m.functions.bytes() > room || took > 16<<20 {
		t.Errorf("a table of %d bytes took %d, and %d for good", len(hostile), took, m.functions.bytes())
	}
	many := goELF(2, 5)
	binary.LittleEndian.PutUint64(many[0x408:], 1<<62) // functions
	if m, err := readModule(strings.NewReader(string(many)), uint64(len(many)), room, noDebug); err == nil && len(m.functions.all) > 3 {
		t.Errorf("of a table that is broken off %d functions are known", len(m.functions.all))
	}
}

// FuzzReadModule: no file does harm, however it was made.
func FuzzReadModule(f *testing.F) {
	f.Add(smallELF())
	f.Add(goELF(3, 5))
	f.Add([]byte("\x7fELF"))
	if b, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const room = 1 << 20
		m, err := readModule(strings.NewReader(string(b)), uint64(len(b)), room, noDebug)
		if err != nil {
			return
		}
		if got := m.functions.bytes(); got > room {
			t.Errorf("the functions take %d bytes of %d", got, room)
		}
		for off := uint64(0); off < 1<<20; off += 4093 {
			m.at(off)
		}
	})
}
