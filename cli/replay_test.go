// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/sys/unix"

	"bpf60/collectors"
	"bpf60/panes"
	"bpf60/triage"
)

// recorded opens a recording of these snapshots.
func recorded(t *testing.T, snaps ...*collectors.Snapshot) *collectors.Replay {
	t.Helper()
	var file bytes.Buffer
	tp := newTape(&file, "test", time.Second)
	tp.queue = make(chan *collectors.Snapshot, len(snaps))
	for _, s := range snaps {
		tp.add(s)
	}
	close(tp.queue)
	if tp.run(); tp.err != nil {
		t.Fatal(tp.err)
	}
	r, err := collectors.OpenReplay(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestReplayWhole: a replay keeps all of a recording that is larger than what a live run may hold.
func TestReplayWhole(t *testing.T) {
	const ticks, moving = 300, 900
	infos := make([]*collectors.ProcInfo, moving)
	for i := range infos {
		infos[i] = &collectors.ProcInfo{
			PID: int32(i), Process: collectors.Process{TGID: int32(i), Start: uint64(i)}, Comm: collectors.RawString(fmt.Sprint("worker-", i)),
		}
	}
	var snaps []*collectors.Snapshot
	for tick := range ticks {
		at := time.Duration(tick+1) * time.Second
		tasks := &collectors.Tasks{Span: collectors.Span{From: at - time.Second, To: at}, Processes: moving}
		for _, info := range infos {
			tasks.Rows = append(tasks.Rows, collectors.TaskRow{ProcInfo: info, Run: time.Millisecond})
		}
		snaps = append(snaps, &collectors.Snapshot{Seq: uint64(tick), At: at, Tasks: tasks})
	}
	o := defaults()
	o.Replay = recorded(t, snaps...)
	m := newMeasurement(o)
	if err := m.Run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	if held := m.history.Held(); held <= triage.DefaultBudget {
		t.Fatalf("%d bytes are held, want more than a live run may hold: %d", held, triage.DefaultBudget)
	}
	if m.history.Len() != ticks || m.history.RowsSince() != time.Second {
		t.Errorf("%d moments, rows since %v; want all %d since 1s", m.history.Len(), m.history.RowsSince(), ticks)
	}
}

// TestRecordingWithoutHost: a recording that does not name its host is one all the same, and one that
// begins on a host too busy to be asked names it.
func TestRecordingWithoutHost(t *testing.T) {
	var file bytes.Buffer
	rec, err := collectors.NewRecorder(&file, collectors.RecordHeader{Interval: time.Second})
	if err == nil {
		err = errors.Join(rec.Add(&collectors.Snapshot{At: time.Second}), rec.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	o := defaults()
	if o.Replay, err = collectors.OpenReplay(bytes.NewReader(file.Bytes()), int64(file.Len())); err != nil {
		t.Fatal(err)
	}
	defer o.Replay.Close()
	m := newMeasurement(o)
	if err := m.Run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	model := m.Model(screen{Clock: func() time.Duration { return 0 }})
	model.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	model.Update(panes.NewMsg{})
	if !strings.Contains(model.View(), "REPLAY") {
		t.Errorf("the screen does not say that it is a replay:\n%s", model.View())
	}
	if h := headerOf(&collectors.Snapshot{}, "test", time.Second); h.Host == (collectors.Raw{}) || h.Kernel == "" || h.Arch == "" || h.CPUs == 0 {
		t.Errorf("the header of a recording whose first snapshot lacks the host is %+v", h)
	}
}

// TestRecordingOfRoot: under sudo a recording is opened with the rights of who asked.
func TestRecordingOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root lends itself")
	}
	file := filepath.Join(t.TempDir(), "host.b60")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &commands{world: &world{who: identity{uid: 65534, gid: 65534, lent: true}}}
	if _, _, err := c.openRecording(file); !errors.Is(err, unix.EACCES) {
		t.Errorf("a recording of root's is opened for user 65534: %v", err)
	}
}

// TestReplayZone: a report of a recording has one zone, that of its host.
func TestReplayZone(t *testing.T) {
	taken := time.Date(2026, 3, 14, 9, 26, 0, 0, time.FixedZone("", 19800))
	o := defaults()
	o.Replay = recorded(t, &collectors.Snapshot{Taken: taken}, &collectors.Snapshot{At: time.Second, Taken: taken.Add(time.Second)})
	m := newMeasurement(o)
	if err := m.Run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.Report(&b, reportRequest{Format: "text", Brief: true}); err != nil {
		t.Fatal(err)
	}
	if says := "2026-03-14 03:56:00 to 03:56:01 UTC · 2026-03-14 09:26:00 to 09:26:01 +05:30"; !strings.Contains(b.String(), says) {
		t.Errorf("the report lacks %q:\n%s", says, b.String())
	}
}

// TestReportFromWarns: what the configuration has wrong is told here too.
func TestReportFromWarns(t *testing.T) {
	errs, err := os.Create(filepath.Join(t.TempDir(), "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	c := &commands{world: &world{stderr: errs}}
	if err := c.reportFrom(options{Warnings: []string{"config.toml:3: no such key"}}, "none", "", reportRequest{}); err == nil {
		t.Error("a recording that is not there is reported")
	}
	if got := content(errs.Name()); got != "bpf60: config.toml:3: no such key\n" {
		t.Errorf("it says %q", got)
	}
}

// TestReplayHistory: an hour of a busy host keeps its rows, and a small file takes little memory whatever it holds.
func TestReplayHistory(t *testing.T) {
	for size, want := range map[int64]int{0: 128 << 20, 1 << 20: 128 << 20, 4 << 20: 256 << 20, 20 << 20: 512 << 20, 1 << 40: 512 << 20} {
		if got := replayHistory(size); got != want {
			t.Errorf("a recording of %d bytes: %d, want %d", size, got, want)
		}
	}
}
