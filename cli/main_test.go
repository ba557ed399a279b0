// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// sceneVariable makes the test binary the program: the same commands over a fake session. Its
// value is the scene: words that change what the fake does.
const sceneVariable = "BPF60_TEST_SCENE"

// binariesVariable names a directory for what tests build, removed at the end.
const binariesVariable = "BPF60_TEST_BINARIES"

func TestMain(m *testing.M) {
	if os.Getenv(settleVariable) != "" {
		settleMain()
	}
	if what := os.Getenv(memoryVariable); what != "" {
		memoryMain(what)
	}
	if scene := os.Getenv(sceneVariable); scene != "" {
		os.Exit(run(&world{
			args:  os.Args[1:],
			stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
			env: os.Getenv, who: whoami(os.Getenv),
			etc: filepath.Join(os.TempDir(), "bpf60-no-such-file.toml"), version: "test",
			parts: fakeParts(strings.Fields(scene)),
		}))
	}
	dir, err := os.MkdirTemp("", "bpf60-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(binariesVariable, dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

type fakeNews struct{}

func fakeParts(scene []string) parts {
	unread := time.Duration(0)
	if slices.Contains(scene, "impatient") {
		unread = time.Second
	}
	return parts{
		unread:  unread,
		open:    func(o options) (session, error) { return newFakeSession(o, scene), nil },
		profile: func(o *options) (profiler, error) { return newFakeProfiler(o, scene) },
		news:    fakeNews{},
		facts: func() []Fact {
			return []Fact{{Name: "kernel BTF", Value: "absent", Remedy: "boot a kernel with CONFIG_DEBUG_INFO_BTF"}}
		},
		keys: func(rebound map[string][]string) ([]keymap.Section, []error) {
			global := []keymap.Key{keymap.New("quit", "q", "quit", "q"), keymap.New("cpu.draw", "v", "draw", "v")}
			m, problems := keymap.Rebind(rebound, global)
			return []keymap.Section{{Title: "everywhere", Keys: m.Apply(global)}}, problems
		},
		panes:  []string{"overview", "cpu"},
		probes: []string{"runqlat", "cpudist"},
		themes: []string{"dark", "light", "terminal", "mono"},
	}
}

// fakeSession counts ticks instead of measuring. The model's keys make it misbehave.
type fakeSession struct {
	o     options
	scene map[string]bool
	boom  chan string // what the source shall do: "panic", "error"
	ticks atomic.Int64
	rests atomic.Int64 // how often it let go; negative while it does
}

func newFakeSession(o options, scene []string) *fakeSession {
	s := &fakeSession{o: o, scene: make(map[string]bool), boom: make(chan string, 1)}
	for _, word := range scene {
		s.scene[word] = true
	}
	return s
}

// measuringLine is what the loud scene says on stderr once it measures.
const measuringLine = "measuring\n"

func (s *fakeSession) Run(ctx context.Context, emit func()) error {
	if s.scene["loud"] {
		fmt.Fprint(os.Stderr, measuringLine)
	}
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		s.ticks.Add(1)
		emit()
		select {
		case <-ctx.Done():
			if s.scene["hang"] {
				select {}
			}
			return nil
		case what := <-s.boom:
			if what == "panic" {
				panic("boom in the source")
			}
			return errors.New("boom: the source broke")
		case <-t.C:
		}
	}
}

func (s *fakeSession) Line() string { return fmt.Sprintf("tick %d", s.ticks.Load()) }

func (s *fakeSession) Probes() []collectors.Probe {
	state := collectors.Warming
	if s.ticks.Load() > 2 {
		state = collectors.On
	}
	if s.scene["warming"] {
		state = collectors.Warming
	}
	return []collectors.Probe{
		{Name: "runqlat", State: state, Hook: "tp_btf sched_switch"},
		{Name: "cpudist", State: collectors.Off, Reason: "needs CAP_BPF\x1b[31m", Remedy: "run as root"},
	}
}

func (s *fakeSession) Crashes() []collectors.Crash {
	if !s.scene["crashed"] {
		return nil
	}
	return []collectors.Crash{{Name: "disk", Message: "boom\x1b[31m", Stack: []byte("goroutine 7 [running]:\n")}}
}

// Rest counts the times that it let go of the kernel.
func (s *fakeSession) Rest(on bool) {
	n := s.rests.Load()
	if on == (n < 0) {
		panic("Rest out of order")
	}
	if on {
		s.rests.Store(-n - 1)
		return
	}
	s.rests.Store(-n)
}

func (s *fakeSession) Report(w io.Writer, r reportRequest) error {
	_, err := fmt.Fprintf(w, "report format=%s brief=%t panes=%v some=%t holds=%v\n", r.Format, r.Brief, r.Panes, s.ticks.Load() > 0, s.o.Hold)
	return err
}

func (s *fakeSession) Model(sc screen) tea.Model {
	return &fakeModel{s: s, sc: sc, pid: os.Getpid()}
}

// fakeModel shows what reached it. Capital letters make it misbehave.
type fakeModel struct {
	s       *fakeSession
	sc      screen
	pid     int
	w, h    int
	keys    string
	resumed int
	mouse   int
	status  string
	bad     bool
}

type fakeStatus string

func (m *fakeModel) Init() tea.Cmd { return nil }

func (m *fakeModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
	case tea.ResumeMsg:
		m.resumed++
	case tea.MouseMsg:
		m.mouse++
	case fakeStatus:
		m.status = string(msg)
	case tea.KeyMsg:
		m.keys += "<" + msg.String() + ">"
		if len(m.keys) > 60 {
			m.keys = m.keys[len(m.keys)-60:]
		}
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *fakeModel) key(k string) tea.Cmd {
	if k == "ctrl+c" || k == "q" && !m.s.scene["stubborn"] {
		return tea.Quit
	}
	if m.s.scene["stubborn"] {
		return nil
	}
	panics := func() tea.Msg { panic("boom in a command") }
	switch k {
	case "ctrl+z":
		return tea.Suspend
	case "U":
		panic("boom in Update")
	case "V":
		m.bad = true
	case "C":
		return panics
	case "B":
		return tea.Sequence(func() tea.Msg { return nil }, tea.Batch(panics, panics))
	case "G":
		m.s.boom <- "panic"
	case "E":
		m.s.boom <- "error"
	case "L":
		select {} // a loop that never comes back
	case "S":
		write := m.sc.Save()
		return func() tea.Msg {
			path, err := write([]byte("snapshot\n"), []byte("{}\n"), nil)
			if err != nil {
				return fakeStatus(err.Error())
			}
			return fakeStatus("saved " + path)
		}
	}
	return nil
}

func (m *fakeModel) View() string {
	if m.bad {
		panic("boom in View")
	}
	if m.w == 0 {
		return ""
	}
	ticked := "no tick"
	if m.s.ticks.Load() > 0 {
		ticked = "ticked"
	}
	if m.s.scene["clock"] {
		ticked = m.s.Line()
	}
	return fmt.Sprintf("ready %dx%d %s rested %d\npid %d\nkeys %s\nresumed %d\nmouse %d\nutf8 %t profile %v\n%s\n",
		m.w, m.h, ticked, m.s.rests.Load(), m.pid, m.keys, m.resumed, m.mouse, m.sc.UTF8, m.sc.Profile, m.status)
}
