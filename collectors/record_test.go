// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// recorded makes a recording of n seconds, and returns its snapshots and where each block ends.
func recorded(t testing.TB, n int) (file []byte, snaps []*Snapshot, ends []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var buf bytes.Buffer
	rec, err := NewRecorder(&buf, RecordHeader{Version: "1.2.3", Host: RawString("web\xff"), Kernel: "6.1", Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ends = append(ends, buf.Len())
	for i := range n {
		s := &Snapshot{}
		random(r, reflect.ValueOf(s).Elem(), 0)
		s.At = time.Duration(i) * time.Second
		snaps = append(snaps, s)
		if err := rec.Add(s); err != nil {
			t.Fatal(err)
		}
		if buf.Len() != ends[len(ends)-1] {
			ends = append(ends, buf.Len())
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if buf.Len() != ends[len(ends)-1] {
		ends = append(ends, buf.Len())
	}
	return buf.Bytes(), snaps, ends
}

// replayed reads a recording; its error is why it cannot be opened.
func replayed(t testing.TB, file []byte) (got []*Snapshot, r *Replay, err error) {
	t.Helper()
	r, err = OpenReplay(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(r.Close)
	if err := r.Run(t.Context(), func(s *Snapshot) { got = append(got, s) }); err != nil {
		t.Fatalf("Run: %v", err)
	}
	return got, r, nil
}

func TestRecordReplay(t *testing.T) {
	file, want, ends := recorded(t, 35)
	got, r, err := replayed(t, file)
	if err != nil || r.Cut() != nil {
		t.Fatalf("opening: %v, cut: %v", err, r.Cut())
	}
	if h := r.Header(); h.Host.Bytes() != "web\xff" || h.Version != "1.2.3" || h.Interval != time.Second || h.Major != recordMajor {
		t.Errorf("header %+v", h)
	}
	if diff := same(want, got); diff != "" {
		t.Errorf("snapshots (-want +got):\n%.2000s", diff)
	}
	if len(ends) < 5 {
		t.Errorf("%d blocks of 35 s, want at least 4", len(ends)-1)
	}
	var part []time.Duration
	if err := r.Each(t.Context(), Span{12 * time.Second, 14 * time.Second}, func(s *Snapshot) { part = append(part, s.At) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(part) != "[12s 13s 14s]" {
		t.Errorf("Each gave %v", part)
	}
}

// TestRecordChapters: what is shared is written once in a chapter, and any time can be read by itself.
func TestRecordChapters(t *testing.T) {
	const seconds = 150
	var buf bytes.Buffer
	rec, err := NewRecorder(&buf, RecordHeader{})
	if err != nil {
		t.Fatal(err)
	}
	tail := &LogTail{Records: []*LogRecord{{Seq: 7, Text: RawString("shared by all")}}}
	for i := range seconds {
		if err := rec.Add(&Snapshot{At: time.Duration(i) * time.Second, Log: &Log{Tail: tail}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReplay(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil || r.Cut() != nil {
		t.Fatalf("opening: %v, cut: %v", err, r.Cut())
	}
	defer r.Close()
	written := 0
	for _, b := range r.blocks {
		lines, err := r.unpack(b)
		if err != nil {
			t.Fatal(err)
		}
		written += bytes.Count(lines, []byte("shared by all"))
	}
	if written != 3 {
		t.Errorf("what is shared is written %d times, want once in each of 3 chapters", written)
	}
	for from := range seconds {
		span := Span{time.Duration(from) * time.Second, time.Duration(from+2) * time.Second}
		n := 0
		err := r.Each(t.Context(), span, func(s *Snapshot) {
			n++
			if s.Log == nil || s.Log.Tail == nil || s.Log.Tail.Records[0].Text.Bytes() != "shared by all" {
				t.Errorf("at %v the tail of the log is missing", s.At)
			}
		})
		if want := min(3, seconds-from); err != nil || n != want || r.Cut() != nil {
			t.Fatalf("from %d s: %d snapshots, want %d: %v, cut: %v", from, n, want, err, r.Cut())
		}
	}
}

// TestReplayBomb: a chapter that would fill the memory ends the recording.
func TestReplayBomb(t *testing.T) {
	d := newDecoder(&plans{})
	rows := strings.Repeat(" ", 10) + `{"at_ns":1,"probes":{"a":{"#":100000}}}`
	for i := range 1000 {
		if err := d.decode([]byte(rows), &Snapshot{}); err != nil {
			if i < 2 {
				t.Errorf("line %d: %v", i, err)
			}
			return
		}
	}
	t.Error("a thousand lines of 100,000 rows were all read")
}

// TestReplayCutAnywhere: whatever is missing at the end, all whole blocks before it are there.
func TestReplayCutAnywhere(t *testing.T) {
	file, want, ends := recorded(t, 25)
	whole := func(cut int) (n int, atEnd bool) {
		for _, e := range ends[1:] {
			if e <= cut {
				n++
			}
			atEnd = atEnd || e == cut
		}
		return n, atEnd || cut == ends[0]
	}
	for cut := ends[0]; cut < len(file); cut++ {
		if near := func(e int) bool { return cut >= e-2 && cut <= e+64 }; cut%11 != 0 && !slices.ContainsFunc(ends, near) {
			continue // elsewhere a byte is like the next
		}
		r, err := OpenReplay(bytes.NewReader(file[:cut]), int64(cut))
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(file), err)
		}
		n, atEnd := whole(cut)
		if len(r.blocks) != n || (r.Cut() == nil) != atEnd {
			t.Fatalf("cut at %d: %d blocks, want %d; Cut = %v", cut, len(r.blocks), n, r.Cut())
		}
		r.Close()
	}
	for _, cut := range []int{ends[1] - 1, ends[1], ends[1] + 1, ends[2] - 1, len(file) - 1} {
		got, r, err := replayed(t, file[:cut])
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, b := range r.blocks {
			n += b.N
		}
		if k, _ := whole(cut); len(r.blocks) != k || len(got) != n || n > 0 && same(want[:n], got) != "" {
			t.Errorf("cut at %d: %d snapshots in %d blocks, want the %d of %d whole blocks", cut, len(got), len(r.blocks), n, k)
		}
	}
}

// TestReplayDamaged: a flipped bit is found, and what came before it stands.
func TestReplayDamaged(t *testing.T) {
	file, want, ends := recorded(t, 25)
	for at := ends[1]; at < ends[2]; at += 1 + (ends[2]-ends[1])/15 {
		bad := bytes.Clone(file)
		bad[at] ^= 0x10
		got, r, err := replayed(t, bad)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.blocks[0].N; len(got) < n || same(want[:n], got[:n]) != "" {
			t.Errorf("damaged at %d: %d snapshots, want the first block's %d", at, len(got), n)
		}
		// A wrong time in the index is not found: the block itself is whole.
		if len(got) == len(want) && r.Cut() == nil && same(want, got) != "" {
			t.Errorf("damaged at %d: read as if it were whole", at)
		}
	}
}

// TestReplayInOrder: what comes after a snapshot that is not in order is left out.
func TestReplayInOrder(t *testing.T) {
	tests := map[string]struct{ at, want []time.Duration }{
		"in order":     {[]time.Duration{0, 1, 5}, []time.Duration{0, 1, 5}},
		"back":         {[]time.Duration{0, 3, 2, 4}, []time.Duration{0, 3}},
		"twice":        {[]time.Duration{0, 3, 3, 4}, []time.Duration{0, 3}},
		"before start": {[]time.Duration{-1, 3}, nil},
	}
	for name, tt := range tests {
		var file bytes.Buffer
		rec, err := NewRecorder(&file, RecordHeader{})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range tt.at {
			if err := rec.Add(&Snapshot{At: at}); err != nil {
				t.Fatal(err)
			}
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		snaps, r, err := replayed(t, file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, s := range snaps {
			got = append(got, s.At)
		}
		if !slices.Equal(got, tt.want) || (r.Cut() != nil) != (len(got) < len(tt.at)) {
			t.Errorf("%s: snapshots at %v, want %v; cut: %v", name, got, tt.want, r.Cut())
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	header := func(line string) []byte {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		return z.EncodeAll([]byte(line), nil)
	}
	tests := map[string]struct {
		file []byte
		says string
	}{
		"empty":       {nil, "not a recording"},
		"text":        {[]byte("hello, world, this is no recording"), "not a recording"},
		"other zstd":  {header("hello"), "not a recording"},
		"other json":  {header(`{"magic":"tape"}`), "not a recording"},
		"newer major": {header(`{"magic":"bpf60","major":9,"minor":1,"version":"7.\u001b[2J"}`), "format 9.1, written by bpf60 7.\\x1b[2J"},
		"bomb":        {header(strings.Repeat(" ", 1<<20)), "not a recording"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := replayed(t, tt.file)
			if !errors.Is(err, ErrRecording) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
		})
	}
	if _, _, err := replayed(t, header(`{"magic":"bpf60","major":1,"minor":99,"future":{}}`)); err != nil {
		t.Errorf("a newer minor version: %v", err)
	}
}

// TestRecordZstdcat: others read it with zstdcat and a JSON parser.
func TestRecordZstdcat(t *testing.T) {
	if _, err := exec.LookPath("zstdcat"); err != nil {
		lacking(t, "no zstdcat")
	}
	file, _, _ := recorded(t, 12)
	cmd := exec.Command("zstdcat")
	cmd.Stdin = bytes.NewReader(file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zstdcat: %v", err)
	}
	if n := bytes.Count(out, []byte("\n")); n != 13 {
		t.Errorf("%d lines, want the header's and 12", n)
	}
}

func FuzzReplay(f *testing.F) {
	file, _, ends := recorded(f, 3)
	f.Add(file)
	f.Add(file[:ends[0]])
	f.Add(file[:len(file)/2])
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := OpenReplay(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		defer r.Close()
		if err := r.Run(t.Context(), func(*Snapshot) {}); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestReplayFixtures: a recording of each version of the format stays readable, with what was in it.
func TestReplayFixtures(t *testing.T) {
	tests := map[string]struct {
		snapshots, cpus int
		host            string
		processes       int
		waits           uint64 // for a CPU, in all
	}{
		"1.0": {snapshots: 4, cpus: 2, host: "fixture", processes: 154, waits: 14661},
	}
	for version, want := range tests {
		file, err := os.ReadFile(filepath.Join("testdata", "recordings", version+".b60"))
		if err != nil {
			t.Fatal(err)
		}
		snaps, r, err := replayed(t, file)
		if err != nil || r.Cut() != nil {
			t.Fatalf("%s: %v, cut: %v", version, err, r.Cut())
		}
		got := want
		got.snapshots, got.cpus, got.host = len(snaps), r.Header().CPUs, r.Header().Host.Bytes()
		got.processes, got.waits = 0, 0
		for _, s := range snaps {
			if s.Tasks != nil {
				got.processes = s.Tasks.Processes
			}
			if s.Sched != nil {
				got.waits += s.Sched.Host.Wait.Count()
			}
			if s.Tasks != nil && s.Tasks.Key != nil && (s.Tasks.Key[0].TGID != 2 || s.Tasks.Key[0].Comm.Bytes() == "") {
				t.Errorf("%s: the first process is %+v", version, s.Tasks.Key[0].ProcInfo)
			}
		}
		if got != want {
			t.Errorf("%s holds %+v, want %+v", version, got, want)
		}
		var again bytes.Buffer
		rec, err := NewRecorder(&again, r.Header())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range snaps {
			if err := rec.Add(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		copied, _, err := replayed(t, again.Bytes())
		if diff := same(snaps, copied); err != nil || diff != "" {
			t.Errorf("%s recorded again: %v (-want +got):\n%.2000s", version, err, diff)
		}
	}
	if list, err := filepath.Glob("testdata/recordings/*.b60"); err != nil || len(list) != len(tests) {
		t.Errorf("the fixtures are %v, %v, want one for each of %d versions", list, err, len(tests))
	}
	if want := fmt.Sprintf("%d.%d", recordMajor, recordMinor); tests[want].snapshots == 0 {
		t.Errorf("version %s of the format has no fixture", want)
	}
}
