// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

func TestParseMaps(t *testing.T) {
	text := `55d0c0000000-55d0c0001000 r--p 00000000 fe:00 42                         /usr/bin/true
55d0c0001000-55d0c0003000 r-xp 00001000 fe:00 42                         /usr/bin/true
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00002000 fe:00 43                         /opt/a name (deleted)
7f0000002800-7f0000003000 r-xp 00000000 fe:00 44                         /overlaps
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
junk
7ffe00000000-7ffd00000000 r-xp 00000000 00:00 0                          /backwards
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]`
	got := parseMaps([]byte(text))
	want := []mapping{
		{0x55d0c0001000, 0x55d0c0003000, 0x1000, "fe:00", 42, "/usr/bin/true"},
		{0x7f0000000000, 0x7f0000001000, 0, "00:00", 0, ""},
		{0x7f0000002000, 0x7f0000003000, 0x2000, "fe:00", 43, "/opt/a name (deleted)"},
		{0x7ffd00000000, 0x7ffd00002000, 0, "00:00", 0, "[vdso]"},
		{0xffffffffff600000, 0xffffffffff601000, 0, "00:00", 0, "[vsyscall]"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("parseMaps (-want +got):\n%s", diff)
	}
	var names []string
	for i := range got {
		names = append(names, got[i].moduleName())
	}
	if diff := cmp.Diff([]string{"true", "anon", "a name", "vdso", "vsyscall"}, names); diff != "" {
		t.Errorf("moduleName (-want +got):\n%s", diff)
	}
	for addr, want := range map[uint64]string{
		0x55d0c0000fff: "", 0x55d0c0001000: "true", 0x55d0c0002fff: "true", 0x55d0c0003000: "", 0x7f0000000010: "anon",
		0xffffffffff600400: "vsyscall", 0: "", 1<<64 - 1: "",
	} {
		m, name := mappingAt(got, addr), ""
		if m != nil {
			name = m.moduleName()
		}
		if name != want {
			t.Errorf("mappingAt(%#x) is %q, want %q", addr, name, want)
		}
	}
}

func TestFunctionTable(t *testing.T) {
	table := functionTable{room: 1 << 10}
	for _, f := range []struct {
		addr, size uint64
		name       string
	}{{0x200, 0x10, "alias"}, {0x100, 0x80, "first"}, {0x200, 0x40, "whole"}, {0x300, 0, "open"}, {0x400, 0, "last"}, {0, 9, "nowhere"}, {0x500, 9, ""}} {
		if !table.add(f.addr, f.size, []byte(f.name)) {
			t.Fatalf("no room for %s", f.name)
		}
	}
	table.sort()
	for addr, want := range map[uint64]string{
		0xff: "", 0x100: "first", 0x17f: "first", 0x180: "", 0x200: "whole", 0x23f: "whole", 0x240: "", 0x300: "open", 0x3ff: "open", 0x1000: "last",
	} {
		if got, ok := table.at(addr); got != want || ok != (want != "") {
			t.Errorf("at(%#x) = %q, %t, want %q", addr, got, ok, want)
		}
	}
	small := functionTable{room: 2*functionBytes + 7}
	if !small.add(1, 1, []byte("abc")) || small.add(2, 1, []byte("abcde")) || !small.add(3, 1, []byte("abcd")) || small.bytes() != 2*functionBytes+7 {
		t.Errorf("a table of a bound holds %d bytes", small.bytes())
	}
}

func TestParsePerfMap(t *testing.T) {
	table := parsePerfMap([]byte("7f10 20 LazyCompile:~old a.js:1\n0x7f40 0x10 b\nzz 1 no\n7f50 0 empty\n7f10 20 *new a.js:1\n7f60 10 half"), maxTableBytes)
	for addr, want := range map[uint64]string{0x7f10: "*new a.js:1", 0x7f2f: "*new a.js:1", 0x7f30: "", 0x7f4f: "b", 0x7f50: "", 0x7f60: ""} {
		if got, _ := table.at(addr); got != want {
			t.Errorf("at(%#x) = %q, want %q", addr, got, want)
		}
	}
}

// TestReadPerfMap: only a regular file of the process's user or root is read, and only one that others may
// not write.
func TestReadPerfMap(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	pid := cmd.Process.Pid
	name := fmt.Sprintf("/tmp/perf-%d.map", pid)
	body := []byte("1000 10 made\n")
	other := filepath.Join(t.TempDir(), "other")
	for what, tt := range map[string]struct {
		make func() error
		root bool // to make it
		good bool
	}{
		"its own":        {make: func() error { return os.WriteFile(name, body, 0o644) }, good: true},
		"nothing":        {make: func() error { return nil }},
		"all may write":  {make: func() error { return errors.Join(os.WriteFile(name, body, 0o600), os.Chmod(name, 0o666)) }},
		"a link":         {make: func() error { return errors.Join(os.WriteFile(other, body, 0o644), os.Symlink(other, name)) }},
		"a pipe":         {make: func() error { return unix.Mkfifo(name, 0o644) }},
		"a directory":    {make: func() error { return os.Mkdir(name, 0o755) }},
		"too large":      {make: func() error { return errors.Join(os.WriteFile(name, body, 0o644), os.Truncate(name, maxPerfMap+1)) }},
		"somebody's":     {root: true, make: func() error { return errors.Join(os.WriteFile(name, body, 0o644), os.Chown(name, 65534, 65534)) }},
		"through a link": {make: func() error { return os.Symlink("/dev/zero", name) }},
	} {
		t.Run(what, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			t.Cleanup(func() { os.Remove(name) })
			if err := tt.make(); err != nil {
				t.Fatal(err)
			}
			table, err := NewFS("").readPerfMap(int32(pid), maxTableBytes)
			if good := err == nil; good != tt.good {
				t.Fatalf("readPerfMap: %v, want %t", err, tt.good)
			}
			if tt.good {
				if got, _ := table.at(0x1008); got != "made" {
					t.Errorf("at = %q, want made", got)
				}
			}
		})
	}
}

func TestStatusOf(t *testing.T) {
	for text, want := range map[string]struct {
		pid, user uint32
		ok        bool
	}{
		"Name:\tx\nUid:\t1000\t1001\t0\t0\nNSpid:\t4711\t12\t3\n": {3, 1001, true},
		"Uid:\t1000\t1001\n": {0, 1001, false},
		"NSpid:\t\n":         {},
		"Uid:\tx\n":          {},
	} {
		if pid, user, ok := statusOf(text); ok != want.ok || ok && (pid != want.pid || user != want.user) {
			t.Errorf("statusOf(%q) = %d, %d, %t, want %+v", text, pid, user, ok, want)
		}
	}
}

// FuzzParsePerfMap: whatever stands there, what is found lies where it says.
func FuzzParsePerfMap(f *testing.F) {
	f.Add([]byte("7f10 20 a b\n"), uint64(0x7f10))
	f.Fuzz(func(t *testing.T, b []byte, addr uint64) {
		if name, ok := parsePerfMap(b, maxTableBytes).at(addr); ok && (name == "" || len(name) > maxNameBytes) {
			t.Errorf("at(%#x) = %q", addr, name)
		}
	})
}

func FuzzParseMaps(f *testing.F) {
	f.Add([]byte("1000-2000 r-xp 00000000 fe:00 42 /x\n"), uint64(0x1800))
	f.Fuzz(func(t *testing.T, b []byte, addr uint64) {
		if m := mappingAt(parseMaps(b), addr); m != nil {
			if addr < m.from || addr >= m.to || m.moduleName() == "" {
				t.Errorf("%#x is in %+v", addr, m)
			}
		}
	})
}

func sampleOf(tgid int32, comm string, kernel, user []uint64) *bpf.ProfileSample {
	s := &bpf.ProfileSample{Start: 5, TGID: tgid, Image: 2, Kernel: kernel, User: user}
	for i := range comm {
		s.Comm[i] = int8(comm[i])
	}
	return s
}

func TestTally(t *testing.T) {
	tl := newTally()
	a := sampleOf(7, "a\xff", []uint64{1, 2}, []uint64{3})
	a.Thread, a.Slots = true, 5
	for i := range 3 {
		if _, first := tl.add(a); first != (i == 0) {
			t.Errorf("add %d: first %t", i, first)
		}
	}
	for raw, n := range tl.count {
		got := decodeStack(raw)
		want := rawStack{imageKey{Process{7, 5}, 2}, true, 5, "a\xff", []uint64{1, 2}, []uint64{3}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(rawStack{}, imageKey{})); diff != "" || n != 3 {
			t.Errorf("%d times (-want +got):\n%s", n, diff)
		}
	}
	// A storm of ever new stacks fills it; those that it knows are counted on.
	tl.most = 10_000
	for i := range uint64(1000) {
		tl.add(sampleOf(8, "b", nil, []uint64{i}))
	}
	kept := uint64(0)
	for _, n := range tl.count {
		kept += n
	}
	if tl.bytes > tl.most || tl.full == 0 || kept+tl.full != 1003 {
		t.Errorf("%d bytes of %d, %d kept, %d lost, want 1003 in all", tl.bytes, tl.most, kept, tl.full)
	}
	if _, first := tl.add(a); first || tl.count[string(tl.buf)] != 4 {
		t.Error("a known stack is not counted any more")
	}
}

// fakeProfile gives samples, the same at each Drain.
type fakeProfile struct {
	samples []*bpf.ProfileSample
	counts  bpf.ProfileCounts
	stopped bool
	closed  bool
	refuse  error
}

func (f *fakeProfile) SampleCPUs([]int) error { return f.refuse }
func (f *fakeProfile) Drain(each func(*bpf.ProfileSample)) error {
	for _, s := range f.samples {
		each(s)
		f.counts.Sampled++
	}
	return nil
}
func (f *fakeProfile) Counts() (bpf.ProfileCounts, error) { return f.counts, nil }
func (f *fakeProfile) Stop() error                        { f.stopped = true; return nil }
func (f *fakeProfile) Close() error                       { f.closed = true; return nil }

// fakeProc is a /proc and the /sys beside it, with two CPUs, the symbols of a kernel, and no processes.
func fakeProc(t *testing.T, kallsyms string) FS {
	t.Helper()
	dir := t.TempDir()
	cpus := filepath.Join(dir, "sys", "devices", "system", "cpu")
	if err := errors.Join(os.MkdirAll(cpus, 0o700), os.Mkdir(filepath.Join(dir, "proc"), 0o700),
		os.WriteFile(filepath.Join(cpus, "online"), []byte("0-1\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "proc", "kallsyms"), []byte(kallsyms), 0o600)); err != nil {
		t.Fatal(err)
	}
	return NewFS(filepath.Join(dir, "proc"))
}

func TestProfilerRun(t *testing.T) {
	deep := make([]uint64, bpf.ProfileFrames)
	for i := range deep {
		deep[i] = 0x1000
	}
	tests := map[string]struct {
		samples []*bpf.ProfileSample
		hidden  bool
		asked   bool // the kernel tells names itself
		refuse  error
		want    []string
		gone    int
	}{
		"a process that is gone": {
			samples: []*bpf.ProfileSample{sampleOf(7, "x", []uint64{0xffff0110, 0xffff0200}, []uint64{0x1000, 0x2000})},
			want:    []string{"x [unknown] [unknown] alpha/k alpha/k"}, gone: 1,
		},
		"a thread of the kernel": {
			samples: []*bpf.ProfileSample{sampleOf(2, "kthreadd", []uint64{0xffff0200}, nil)},
			want:    []string{"kthreadd beta/k"},
		},
		"hidden names": {
			samples: []*bpf.ProfileSample{sampleOf(2, "k", []uint64{0xffff0200}, nil)}, hidden: true,
			want: []string{"k [unknown]/k"},
		},
		"hidden names that the kernel tells": {
			samples: []*bpf.ProfileSample{sampleOf(2, "k", []uint64{0xffff0200}, nil)}, hidden: true, asked: true,
			want: []string{"k told/k"},
		},
		"no stack":  {samples: []*bpf.ProfileSample{sampleOf(2, "k\x1b[m", nil, nil)}, want: []string{`k\x1b[m [unknown]`}},
		"cut":       {samples: []*bpf.ProfileSample{sampleOf(2, "k", deep, nil)}, want: []string{"k [cut]/k" + strings.Repeat(" [unknown]/k", len(deep))}},
		"no sample": {},
		"refused":   {refuse: os.ErrPermission},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			kallsyms := "ffff0100 T alpha\nffff0200 t beta\nffff0300 t gamma\n"
			if tt.hidden {
				kallsyms = "0 T alpha\n0 t beta\n"
			}
			fs := fakeProc(t, kallsyms)
			if tt.asked {
				fs.names.ask = func(addrs []uint64, each func(bpf.Function)) error {
					for _, addr := range addrs {
						each(bpf.Function{Addr: addr, From: addr, To: addr + 1, Name: "told"})
					}
					return nil
				}
			}
			fake := &fakeProfile{samples: tt.samples, refuse: tt.refuse, counts: bpf.ProfileCounts{Lost: 3, Idle: 4, Passed: 5}}
			p := &Profiler{fs: fs, tally: newTally(), look: newLookout(fs), open: func(int) (profileReader, int, error) { return fake, 99, nil }}
			synctest.Test(t, func(t *testing.T) {
				prof, err := p.Run(context.Background(), 10*profileTick+1)
				if !errors.Is(err, tt.refuse) || !fake.closed {
					t.Fatalf("Run: %v, closed %t", err, fake.closed)
				}
				if tt.refuse != nil {
					return
				}
				var got []string
				samples := uint64(0)
				for _, s := range prof.Stacks {
					line := s.Comm.String()
					for _, f := range s.Frames {
						line += " " + prof.Frames[f].Name.String()
						if prof.Frames[f].Kernel {
							line += "/k"
						}
					}
					got = append(got, line)
					samples += s.Count
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("stacks (-want +got):\n%s", diff)
				}
				if !fake.stopped || prof.Took != 10*profileTick+1 || samples != fake.counts.Sampled || prof.Samples != samples || prof.Lost != 3 || prof.Gone != tt.gone || prof.CPUs != 2 {
					t.Errorf("stopped %t, %+v, want %d samples, 3 lost, %d gone, 2 CPUs", fake.stopped, prof, fake.counts.Sampled, tt.gone)
				}
				if missing := prof.NoKernelNames != nil; missing != (tt.hidden && !tt.asked) {
					t.Errorf("names of the kernel are missing: %v, want %t", prof.NoKernelNames, !missing)
				}
			})
		})
	}
}

// TestProfilerEnds: the end of the context ends it, and is no error.
func TestProfilerEnds(t *testing.T) {
	fs := fakeProc(t, "ffff0100 T alpha\n")
	fake := &fakeProfile{}
	p := &Profiler{fs: fs, tally: newTally(), look: newLookout(fs), open: func(int) (profileReader, int, error) { return fake, 99, nil }}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 1300*time.Millisecond)
		defer cancel()
		prof, err := p.Run(ctx, time.Hour)
		if err != nil || prof.Took != 1300*time.Millisecond {
			t.Errorf("Run: %v, took %v, want 1.3s", err, prof.Took)
		}
	})
}

// fakeProcess puts a process into a fake /proc: what it may run, and its own root.
func fakeProcess(t *testing.T, fs FS, p Process, maps string) (root string) {
	t.Helper()
	dir := fs.path(strconv.Itoa(int(p.TGID)))
	root = filepath.Join(dir, "root")
	stat := fmt.Sprintf("%d (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d%s\n", p.TGID, p.Start/tickNs, strings.Repeat(" 0", 30))
	status := fmt.Sprintf("Uid:\t0\t%d\t0\t0\nNSpid:\t%d\n", os.Geteuid(), p.TGID)
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "tmp"), 0o700),
		os.WriteFile(filepath.Join(dir, "maps"), []byte(maps), 0o600),
		os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600),
		os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o600)); err != nil {
		t.Fatal(err)
	}
	return root
}

// seen is a sample of a process's first image, at addresses of its own.
func seen(p Process, user ...uint64) (imageKey, *bpf.ProfileSample) {
	s := sampleOf(p.TGID, "x", nil, user)
	s.Start = p.Start
	return imageKey{p, s.Image}, s
}

// TestMadeBound: what all processes say of the code that they made is bounded together with the files, and
// what is read again takes the room of what was read before.
func TestMadeBound(t *testing.T) {
	fs := fakeProc(t, "")
	l := newLookout(fs)
	const names = "1000 10 made\n1010 10 more\n"
	bytes := parsePerfMap([]byte(names), maxTableBytes).bytes()
	l.held = maxTableBytes - bytes - 1
	var keys []imageKey
	for pid := range int32(3) {
		p := Process{TGID: 7 + pid, Start: 5 * tickNs}
		root := fakeProcess(t, fs, p, "1000-2000 rwxp 00000000 00:00 0\n")
		if err := os.WriteFile(fmt.Sprintf("%s/tmp/perf-%d.map", root, p.TGID), []byte(names), 0o600); err != nil {
			t.Fatal(err)
		}
		key, s := seen(p, 0x1008)
		keys = append(keys, key)
		for range 2 {
			l.see(key, s)
			l.round(t.Context(), true)
		}
	}
	took := 0
	for _, key := range keys {
		took += l.images[key].made.bytes()
	}
	if took != bytes || l.held != maxTableBytes-1 {
		t.Errorf("what was made takes %d bytes, want %d; %d are held, want %d", took, bytes, l.held, maxTableBytes-1)
	}
}

// TestLookEnds: the end of the context, before a question or while it is open, costs no names.
func TestLookEnds(t *testing.T) {
	fs := fakeProc(t, "")
	p := Process{TGID: 7, Start: 5 * tickNs}
	root := fakeProcess(t, fs, p, "1000-2000 r-xp 00000000 00:00 0\n")
	stat := filepath.Join(root, "..", "stat")
	text, err := os.ReadFile(stat)
	if err := errors.Join(err, os.Remove(stat), unix.Mkfifo(stat, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // the answer comes after the end
		f, err := os.OpenFile(stat, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		defer f.Close()
		cancel()
		time.Sleep(20 * time.Millisecond)
		_, _ = f.Write(text)
	}()
	l := newLookout(fs)
	key, s := seen(p, 0x1008)
	l.see(key, s)
	l.round(ctx, false)
	if i := l.images[key]; !i.read || l.stuck != 0 {
		t.Errorf("when the context ends: maps known %t, %d questions not answered", i.read, l.stuck)
	}
	l.see(key, s)
	l.round(ctx, false)
	if i := l.images[key]; len(i.fresh) != 1 || l.stuck != 0 {
		t.Errorf("when it has ended: %d addresses left to look for, %d questions not answered", len(i.fresh), l.stuck)
	}
}

// writeELF makes a small ELF file, and returns what maps calls it.
func writeELF(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, smallELF(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dev, ino, err := mappedAs(f)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d", dev, ino)
}

// TestOpenMapped: a process may map another file in the place of one by the time that it is opened, or give
// it its name.
func TestOpenMapped(t *testing.T) {
	fs := fakeProc(t, "")
	p := Process{TGID: 7, Start: 5 * tickNs}
	root := fakeProcess(t, fs, p, "")
	libc, forged := filepath.Join(root, "libc"), filepath.Join(root, "forged")
	const line = "1000-2000 r-xp 00000000 "
	m := parseMaps([]byte(line + writeELF(t, libc) + " /libc\n"))[0]
	other := parseMaps([]byte(line + writeELF(t, forged) + " /libc\n"))[0]
	links := filepath.Join(root, "..", "map_files")
	if err := errors.Join(os.Mkdir(links, 0o700), os.Symlink(forged, filepath.Join(links, "1000-2000"))); err != nil {
		t.Fatal(err)
	}
	check := func(what string, m mapping, good bool) {
		t.Helper()
		_, err := fs.readMapped(p.TGID, &m, maxTableBytes)
		if (err == nil) != good || !good && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it read: %t", what, err, good)
		}
	}
	check("another in its place", m, false)
	check("the same in its place", other, true)
	if err := os.RemoveAll(links); err != nil {
		t.Fatal(err)
	}
	check("another of its name", other, false)
	check("the same of its name", m, true)
}

// TestOpenMappedOfAll opens every file that a process runs, on whatever file system it lies.
func TestOpenMappedOfAll(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for _, pid := range []int{os.Getpid(), cmd.Process.Pid} {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range parseMaps(maps) {
			if m.ino == 0 {
				continue
			}
			f, _, err := NewFS("").openMapped(int32(pid), &m)
			if err != nil {
				t.Errorf("%+v: %v", m, err)
				continue
			}
			f.Close()
		}
	}
}

// TestVisitOver: a process that runs many slow files does not hold up the others; what is left of it comes
// with the next look.
func TestVisitOver(t *testing.T) {
	fs := fakeProc(t, "")
	p := Process{TGID: 7, Start: 5 * tickNs}
	root := fakeProcess(t, fs, p, "")
	var maps string
	var at []uint64
	for n := range uint64(3) {
		name := fmt.Sprintf("lib%d", n)
		from := (n + 1) * 0x10000
		maps += fmt.Sprintf("%x-%x r-xp 00001000 %s /%s\n", from, from+0x1000, writeELF(t, filepath.Join(root, name)), name)
		at = append(at, from+0x100)
	}
	fakeProcess(t, fs, p, maps)
	l := newLookout(fs)
	key, s := seen(p, at...)
	l.see(key, s)
	for looks := 1; looks <= 3; looks++ {
		l.visit(t.Context(), key, l.images[key], false, func() bool { return true })
		if left := len(l.images[key].fresh); len(l.modules) != looks || left != 3-looks {
			t.Errorf("after look %d: %d files are known, %d addresses left", looks, len(l.modules), left)
		}
	}
}

// TestProfilerTooMany: a cgroup with more below it than the filter has room for is sampled in part, and the
// profile says so, also when there is room again later.
func TestProfilerTooMany(t *testing.T) {
	for name, tt := range map[string]struct {
		err, want error
	}{
		"room":       {},
		"no room":    {fmt.Errorf("narrowing: %w", bpf.ErrSlots), bpf.ErrSlots},
		"other ones": {os.ErrPermission, os.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			fs := fakeProc(t, "")
			told := 0
			p := &Profiler{
				fs: fs, tally: newTally(), look: newLookout(fs), open: func(int) (profileReader, int, error) { return &fakeProfile{}, 99, nil },
				follow: func(context.Context) error {
					if told++; told == 2 {
						return tt.err
					}
					return nil
				},
				done: func() error { return nil },
			}
			synctest.Test(t, func(t *testing.T) {
				prof, err := p.Run(t.Context(), 3*profileTick+1)
				if prof != nil {
					err = errors.Join(err, prof.TooMany)
				}
				if !errors.Is(err, tt.want) || (prof == nil) != (name == "other ones") {
					t.Errorf("Run: %+v, %v, want %v", prof, err, tt.want)
				}
			})
		})
	}
}

// TestProfileCgroupsTooMany: what the kernel has no room for is told to who asked.
func TestProfileCgroupsTooMany(t *testing.T) {
	tree := newCgroups(t, mountV2)
	tree.put("/", "cpu.stat", "usage_usec 1\n")
	c := &profileCgroups{
		tree: cgroupTree{fs: NewFS(tree.root), drop: func(*cgroupNode) {}},
		tell: func(bpf.Cgroups) error { return bpf.ErrSlots },
	}
	defer c.close()
	if err := c.follow(t.Context()); !errors.Is(err, bpf.ErrSlots) {
		t.Errorf("follow: %v, want %v", err, bpf.ErrSlots)
	}
}

// TestLookExec: what was read in the look before a process is seen to run another program may be of that one;
// what was read earlier is not.
func TestLookExec(t *testing.T) {
	for name, tt := range map[string]struct {
		looks int // at the first program, each at an address that is new
		quiet bool
		want  string
	}{
		"at once":         {looks: 1},
		"at the second":   {looks: 2, want: "/1"},
		"a look was idle": {looks: 1, quiet: true, want: "/1"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := fakeProc(t, "")
			p := Process{TGID: 7, Start: 5 * tickNs}
			l := newLookout(fs)
			key, s := seen(p)
			for n := 1; n <= tt.looks; n++ {
				fakeProcess(t, fs, p, fmt.Sprintf("%x-%x r-xp 00000000 00:00 0 /%d\n", n<<12, (n+1)<<12, n))
				s.User = []uint64{uint64(n<<12 + 8)}
				l.see(key, s)
				l.round(t.Context(), false)
			}
			if tt.quiet {
				l.round(t.Context(), false)
			}
			next := *s
			next.Image++
			l.see(imageKey{p, next.Image}, &next)
			if err := os.WriteFile(fmt.Sprintf("%s/7/root/tmp/perf-7.map", fs.path("")), []byte("1000 1000 made\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			l.round(t.Context(), true)
			i, got := l.images[key], ""
			if len(i.maps) > 0 {
				got = i.maps[0].path
			}
			if i.made != nil {
				t.Error("the first program has names of code that the second made")
			}
			if got != tt.want || i.read != (tt.want != "") {
				t.Errorf("the first program is known by %q, read %t, want %q", got, i.read, tt.want)
			}
		})
	}
}
