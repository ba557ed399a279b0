// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/collectors"
)

// realRun is the program with its real parts, and what it wrote.
func realRun(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	env := func(string) string { return "" }
	code = run(&world{
		args: args, stdin: in, stdout: out, stderr: errs, env: env, who: whoami(env),
		etc: filepath.Join(dir, "no-such-file.toml"), version: "test", parts: builtin(),
	})
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return read(out), read(errs), code
}

// TestRecordReport: the report of a recording is the one that the recorded run would have given.
func TestRecordReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "host.b60")
	f, err := createNew(whoami(os.Getenv), file)
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(f, "test", 200*time.Millisecond)
	o := defaults()
	o.Interval, o.Each = 200*time.Millisecond, tape.add
	o.Hold, o.Wide = builtin().panes, true // also what waits for somebody to look
	live := newMeasurement(o)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); tape.run() }()
	if err := live.Run(ctx, func() {}); err != nil {
		t.Fatal(err)
	}
	close(tape.queue)
	<-done
	if err := errors.Join(tape.err, f.Close()); err != nil || tape.lost != 0 {
		t.Fatalf("recording: %v, %d lost", err, tape.lost)
	}
	rec, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	st, err := rec.Stat()
	if err != nil {
		t.Fatal(err)
	}
	replay, err := collectors.OpenReplay(rec, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	o.Each, o.Replay, o.Interval = nil, replay, time.Second // whoever reads it says nothing of its interval
	again := newMeasurement(o)
	if err := again.Run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	for _, format := range formats() {
		r := reportRequest{Format: format, Version: "test"}
		var want, got bytes.Buffer
		if err := errors.Join(live.Report(&want, r), again.Report(&got, r)); err != nil {
			t.Fatal(err)
		}
		if want.Len() < 2000 {
			t.Errorf("the live report has %d bytes only", want.Len())
		}
		if diff := cmp.Diff(strings.Split(want.String(), "\n"), strings.Split(got.String(), "\n")); diff != "" {
			t.Errorf("%s report (-live +recording):\n%.3000s", format, diff)
		}
	}
}

func TestRecordCommands(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "host.b60")
	if _, errs, code := realRun(t, "record", "--for", "1200ms", "--interval", "200ms", file); code != 0 {
		t.Fatalf("record: exit %d, %s", code, errs)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the recording: %v, mode %v, want 0600", err, st.Mode())
	}
	if out, errs, code := realRun(t, "report", "--from", file, "--brief"); code != 0 || !strings.Contains(out, "60 seconds") {
		t.Errorf("report --from: exit %d, %s\n%s", code, errs, out)
	}
	if out, errs, code := realRun(t, "replay", file); code != 0 || strings.Count(out, "\n") < 4 {
		t.Errorf("replay without a terminal: exit %d, %s\n%s", code, errs, out)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text")
	cut := filepath.Join(dir, "cut")
	more := filepath.Join(dir, "more")
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad")
	harmed := bytes.Clone(whole)
	harmed[len(harmed)-1] ^= 1 // the block's checksum
	for name, body := range map[string][]byte{bad: harmed, text: []byte("hello\n"), cut: whole[:len(whole)-1], more: append(bytes.Clone(whole), "tail"...)} {
		if err := os.WriteFile(name, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"exists":       {[]string{"record", "--for", "1s", file}, 1, "it exists and is left as it is"},
		"no file":      {[]string{"record"}, 2, "takes one file, not 0"},
		"too short":    {[]string{"record", "--for", "10ms", filepath.Join(dir, "x")}, 2, "shorter than the interval"},
		"no process":   {[]string{"record", "--pid", "999999999", filepath.Join(dir, "refused")}, 2, "--pid: "},
		"not there":    {[]string{"replay", filepath.Join(dir, "none")}, 1, "no such file"},
		"a directory":  {[]string{"replay", dir}, 1, "is no regular file"},
		"a pipe":       {[]string{"replay", fifo}, 1, "is no regular file"},
		"no recording": {[]string{"report", "--from", text}, 1, "not a recording that this version reads"},
		"cut at once":  {[]string{"replay", cut}, 1, "it was cut in its first ten seconds"},
		"damaged":      {[]string{"replay", bad}, 0, "is damaged, what comes before is used"},
		"no cgroup":    {[]string{"report", "--from", file, "--cgroup", "/no/such"}, 2, "the recording has no cgroup /no/such: near it are /"},
		"a tail":       {[]string{"report", "--brief", "--from", more}, 0, "ends early, its whole part is used"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, errs, code := realRun(t, tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, %q; want %d and one line with %q", code, errs, tt.code, tt.says)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "refused")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a record that was refused left a file: %v", err)
	}
}

// TestRecordedCgroup: --cgroup finds the cgroups of a recording, not those of this host.
func TestRecordedCgroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "host.b60")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := collectors.NewRecorder(f, collectors.RecordHeader{Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	info := &collectors.CgroupInfo{ID: 7, Path: collectors.RawString("/system.slice/of-the-tape.service"), Name: collectors.RawString("of-the-tape"), Leaf: true}
	for i := range 12 {
		at := time.Duration(i+1) * time.Second
		span := collectors.Span{From: at - time.Second, To: at}
		if err := rec.Add(&collectors.Snapshot{At: at, Taken: time.Unix(1e9, 0).Add(at), Cgroups: &collectors.Cgroups{
			Span: span, Count: 1, Version: "v2", Rows: []collectors.CgroupRow{{CgroupInfo: info, Span: span, Has: collectors.HasMemory, Memory: 1 << 20}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(rec.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	const path = "/sys/fs/cgroup/system.slice/of-the-tape.service"
	out, errs, code := realRun(t, "report", "--from", file, "--cgroup", path)
	if code != 0 || errs != "" || !strings.Contains(out, "scope: of-the-tape. ") {
		t.Errorf("report: exit %d, %s\n%s", code, errs, out)
	}
	if out, errs, code := realRun(t, "replay", "--cgroup", path, file); code != 0 || errs != "" || strings.Count(out, "\n") == 0 {
		t.Errorf("replay: exit %d, %s\n%s", code, errs, out)
	}
	const says = "bpf60: --cgroup: the recording has no cgroup of-the-tap: near it are /system.slice/of-the-tape.service\n"
	if _, errs, code := realRun(t, "replay", "--cgroup", "of-the-tap", file); code != exitUsage || errs != says {
		t.Errorf("replay of another: exit %d, %s", code, errs)
	}
}

// fullDisk takes some bytes and then no more.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n, _ := d.Buffer.Write(b[:min(len(b), d.room)])
	if d.room -= n; n < len(b) {
		return n, &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	}
	return n, nil
}

// TestTapeFullDisk: what was written before stays, the recording ends, and what is said to be in the file
// is what a replay finds.
func TestTapeFullDisk(t *testing.T) {
	for name, tt := range map[string]struct {
		room int
		says string
	}{
		"no header":   {10, "writing x: no space is left: use another file system; no sample had been written yet"},
		"no block":    {200, "no sample had been written yet"},
		"some blocks": {600, "samples before that are in it"},
	} {
		disk := &fullDisk{room: tt.room}
		tp := newTape(disk, "test", time.Second)
		ended := 0
		tp.failed = func() { ended++ }
		for i := range 60 {
			tp.add(&collectors.Snapshot{At: time.Duration(i) * time.Second})
		}
		close(tp.queue)
		tp.run()
		if tp.err == nil || ended != 1 {
			t.Fatalf("%s: error %v, ended %d times, want once", name, tp.err, ended)
		}
		if said := tp.ended(identity{}, "x").Error(); !strings.HasSuffix(said, tt.says) {
			t.Errorf("%s: %q, want %q", name, said, tt.says)
		}
		found := 0
		if r, err := collectors.OpenReplay(bytes.NewReader(disk.Bytes()), int64(disk.Len())); err == nil {
			if err := r.Run(t.Context(), func(*collectors.Snapshot) { found++ }); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		if found != tp.kept {
			t.Errorf("%s: %d samples are said to be in the file, and %d are", name, tp.kept, found)
		}
	}
}

func TestEnoughRoom(t *testing.T) {
	const mb, gb = 1 << 20, 1 << 30
	for name, tt := range map[string]struct {
		size, least uint64
	}{
		"a large disk":      {100 * gb, 5 * gb},
		"a disk":            {8 * gb, 512 * mb},
		"half of it":        {gb, 512 * mb},
		"a small disk":      {256 * mb, 128 * mb},
		"a tmpfs of 64 MiB": {64 * mb, 32 * mb},
	} {
		if err := enoughRoom(tt.size, tt.least); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := enoughRoom(tt.size, tt.least-1); !errors.Is(err, errRoom) {
			t.Errorf("%s with less than %d bytes: %v", name, tt.least, err)
		}
	}
}

// TestTapeLeavesRoom: a recording ends in order before its file system is full, and is not begun on one that
// is.
func TestTapeLeavesRoom(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("bpf60-test", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatalf("mounting a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f, err := createNew(whoami(os.Getenv), filepath.Join(dir, "host.b60"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	others, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	tp := newTape(f, "test", time.Second)
	tp.room = func() error { return roomOf(int(f.Fd())) }
	ended, synced := 0, 0
	tp.failed = func() { ended++ }
	tp.sync = func() error { // somebody else fills the rest meanwhile
		if synced++; synced == 2 {
			return unix.Fallocate(int(others.Fd()), 0, 0, 40<<20)
		}
		return nil
	}
	for i := range 60 {
		tp.add(&collectors.Snapshot{At: time.Duration(i) * time.Second})
	}
	close(tp.queue)
	tp.run()
	if tp.err != nil || !errors.Is(tp.full, errRoom) || ended != 1 || tp.kept != 21 {
		t.Errorf("error %v, full %v, ended %d times, %d kept; want too little room, once, and 21 kept", tp.err, tp.full, ended, tp.kept)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r, err := collectors.OpenReplay(again, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	found := 0
	if err := r.Run(t.Context(), func(*collectors.Snapshot) { found++ }); err != nil || r.Cut() != nil || found != tp.kept {
		t.Errorf("a replay finds %d samples, %v, %v; want %d", found, err, r.Cut(), tp.kept)
	}
	_, errs, code := realRun(t, "record", "--for", "1s", filepath.Join(dir, "second.b60"))
	if want := "of 64 MiB are free on the file system, and a recording leaves 32: use another one"; code != exitError || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
		t.Errorf("record on a full file system: exit %d, %q; want one line with %q", code, errs, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "second.b60")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
}

// TestTapeSync: each block is put on the disk, and one that does not get there ends the recording.
func TestTapeSync(t *testing.T) {
	synced := 0
	tp := newTape(&bytes.Buffer{}, "test", time.Second)
	tp.sync = func() error {
		if synced++; synced > 2 {
			return &os.PathError{Op: "sync", Path: "x", Err: unix.EIO}
		}
		return nil
	}
	for i := range 60 {
		tp.add(&collectors.Snapshot{At: time.Duration(i) * time.Second})
	}
	close(tp.queue)
	tp.run()
	if !errors.Is(tp.err, unix.EIO) || synced != 3 || tp.kept != 20 {
		t.Errorf("error %v after %d syncs, %d kept; want an I/O error at the third and 20 kept", tp.err, synced, tp.kept)
	}
	if said := tp.ended(identity{}, "x").Error(); !strings.Contains(said, "input/output error") || !strings.HasSuffix(said, "the 20 samples before that are in it") {
		t.Errorf("it says %q", said)
	}
}

// TestTapeSlowDisk: a disk that hangs costs samples, which are counted, and holds nobody up.
func TestTapeSlowDisk(t *testing.T) {
	tp := newTape(&bytes.Buffer{}, "test", time.Second)
	for range tapeSlots + 7 { // nobody writes
		tp.add(&collectors.Snapshot{})
	}
	if tp.lost != 7 {
		t.Errorf("%d lost, want 7", tp.lost)
	}
}
