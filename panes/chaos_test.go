// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
	"bpf60/triage"
)

// evil is what a name must not do anywhere.
const evil = "\x1b]0;own\x07\n\u202e\u009b2J\xff"

// spoiler puts into samples what no kernel writes, but a recording can hold: it was made by others.
type spoiler struct {
	*rand.Rand
	each int // one value of so many
	seen map[uintptr]bool
}

// spoil changes values in v, and in what it points to.
func (s *spoiler) spoil(v reflect.Value) {
	hit := s.IntN(s.each) == 0
	switch v.Type() {
	case reflect.TypeFor[collectors.Raw]():
		if hit {
			v.Set(reflect.ValueOf(collectors.RawString(evil)))
		}
		return
	case reflect.TypeFor[time.Time]():
		if hit {
			v.Set(reflect.ValueOf(time.Unix(s.Int64N(1<<33)-1<<32, 0)))
		}
		return
	case reflect.TypeFor[netip.Addr]():
		if hit {
			v.Set(reflect.ValueOf(s.addr()))
		}
		return
	case reflect.TypeFor[netip.AddrPort]():
		if hit {
			v.Set(reflect.ValueOf(netip.AddrPortFrom(s.addr(), uint16(s.IntN(1<<16)))))
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(v.Bool() != hit)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if hit {
			bits := v.Type().Bits()
			v.SetInt([]int64{-1, 0, 1, math.MaxInt64 >> (64 - bits), math.MinInt64 >> (64 - bits), int64(s.Uint64()) >> (64 - bits)}[s.IntN(6)])
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if hit {
			bits := v.Type().Bits()
			v.SetUint([]uint64{0, 1, math.MaxUint64 >> (64 - bits), math.MaxInt64 >> (64 - bits), s.Uint64() >> (64 - bits)}[s.IntN(5)])
		}
	case reflect.Float32:
		if hit {
			v.SetFloat([]float64{0, -1, math.MaxFloat32, -math.MaxFloat32}[s.IntN(4)])
		}
	case reflect.Float64:
		if hit {
			v.SetFloat([]float64{0, -1, math.MaxFloat64, -math.MaxFloat64, 5e-324}[s.IntN(5)])
		}
	case reflect.String:
		if hit {
			v.SetString(evil)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			was := v.Field(i).Kind() == reflect.Pointer && !v.Field(i).IsNil()
			s.spoil(v.Field(i))
			if was && v.Field(i).IsNil() && f.Tag.Get("record") == "must" { // a replay refuses it
				v.Field(i).Set(reflect.New(f.Type.Elem()))
			}
		}
	case reflect.Slice:
		s.spoilList(v, hit)
	case reflect.Array:
		for i := range v.Len() {
			s.spoil(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			x := reflect.New(v.Type().Elem()).Elem()
			x.Set(v.MapIndex(k))
			s.spoil(x)
			v.SetMapIndex(k, x)
		}
		if hit && !v.IsNil() {
			v.SetMapIndex(reflect.ValueOf(evil).Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		}
	case reflect.Pointer:
		switch {
		case v.IsNil():
		case hit:
			v.SetZero()
		case s.seen[v.Pointer()]:
		default:
			s.seen[v.Pointer()] = true
			s.spoil(v.Elem())
		}
	}
}

// addr is an address that is as odd as a recording may hold.
func (s *spoiler) addr() netip.Addr {
	odd := []string{"::", "0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4", "fe80::1%" + strings.Repeat("zone", 50)}
	return netip.MustParseAddr(odd[s.IntN(len(odd))])
}

// spoilList spoils the values of a list, and makes it shorter, or lists something twice.
func (s *spoiler) spoilList(v reflect.Value, hit bool) {
	for i := range min(v.Len(), 300) {
		if s.spoil(v.Index(i)); v.Index(i).Kind() == reflect.Pointer && v.Index(i).IsNil() {
			v.Index(i).Set(reflect.New(v.Type().Elem().Elem()))
		}
	}
	if n := v.Len(); hit && n > 0 {
		if s.IntN(2) == 0 {
			v.Set(v.Slice(0, s.IntN(n)))
			return
		}
		v.Set(reflect.Append(v.Slice3(0, n, n), v.Index(s.IntN(n))))
	}
}

// taped records snapshots and reads them again: what comes out shares nothing with what went in.
func taped(t testing.TB, snaps []*collectors.Snapshot) []*collectors.Snapshot {
	t.Helper()
	var file bytes.Buffer
	rec, err := collectors.NewRecorder(&file, collectors.RecordHeader{Interval: time.Second})
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
	r, err := collectors.OpenReplay(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []*collectors.Snapshot
	if err := r.Run(t.Context(), func(s *collectors.Snapshot) { out = append(out, s) }); err != nil || r.Cut() != nil || len(out) != len(snaps) {
		t.Fatalf("%d snapshots of %d came back: %v, cut: %v", len(out), len(snaps), err, r.Cut())
	}
	return out
}

// chaotic is a history of a story's moments with one value of so many spoiled, judged anew.
func chaotic(t testing.TB, r *rand.Rand, base []*collectors.Snapshot, each int) (*triage.History, []*collectors.Snapshot) {
	t.Helper()
	snaps := taped(t, base)
	s := &spoiler{Rand: r, each: each, seen: map[uintptr]bool{}}
	for i, x := range snaps {
		at := x.At
		s.spoil(reflect.ValueOf(x).Elem())
		x.At, x.Seq = at, uint64(i)
	}
	snaps = taped(t, snaps)
	var slept time.Duration
	for _, x := range snaps {
		if r.IntN(20) == 0 {
			slept += time.Duration(r.Int64N(int64(2 * time.Hour)))
		}
		x.At += slept
	}
	h := triage.NewHistory([]int{0, 1 << 20, 64 << 10}[r.IntN(3)])
	return h, snaps
}

// wild finds what a terminal might obey.
func wild(s string) int {
	return strings.IndexFunc(s, func(c rune) bool {
		return c < 0x20 && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' || c == '\ufffd'
	})
}

// chaos is someone at the keys who presses anything, at a terminal of any size, over a host of which
// nothing is sure.
type chaos struct {
	*rand.Rand
	t    *testing.T
	root *Root
	done []string // for the report
}

func (c *chaos) size() (width, height int) {
	if c.IntN(3) == 0 {
		return c.IntN(500) + 1, c.IntN(200) + 1
	}
	return [][2]int{{1, 1}, {40, 10}, {39, 10}, {80, 24}, {200, 60}, {120, 11}}[c.IntN(6)][0], 10 + c.IntN(60)
}

// key is mostly one that does something.
func (c *chaos) key() tea.KeyMsg {
	if keys := c.root.bindings(); c.IntN(3) > 0 {
		names := keys[c.IntN(len(keys))].Keys()
		if len(names) > 0 {
			name, _, _ := strings.Cut(names[c.IntN(len(names))], " ")
			for kind := tea.KeyType(-120); kind < 130; kind++ {
				if msg := (tea.KeyMsg{Type: kind}); name != "" && kind != tea.KeyRunes && msg.String() == name {
					return msg
				}
			}
			if name != "" {
				return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
			}
			return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}
		}
	}
	if c.IntN(4) == 0 {
		return tea.KeyMsg{Type: tea.KeyType(c.IntN(250) - 120), Alt: c.IntN(5) == 0}
	}
	typed := []rune("abcdefghijklmnopqrstuvwxyz0123456789 =<>~!()\"/\\.*%-_ABCDÄß数\u202e")
	n := 1
	if c.IntN(10) == 0 {
		n = c.IntN(300)
	}
	out := tea.KeyMsg{Type: tea.KeyRunes, Alt: c.IntN(30) == 0}
	for range n {
		out.Runes = append(out.Runes, typed[c.IntN(len(typed))])
	}
	return out
}

func (c *chaos) step(more func() bool) {
	var msg tea.Msg
	switch n := c.IntN(100); {
	case n < 4:
		width, height := c.size()
		msg = tea.WindowSizeMsg{Width: width, Height: height}
	case n < 12:
		msg = tea.MouseMsg{X: c.IntN(210) - 5, Y: c.IntN(70) - 5, Button: tea.MouseButton(c.IntN(8)), Action: tea.MouseAction(c.IntN(3))}
	case n < 22:
		if !more() {
			return
		}
		msg = NewMsg{}
	default:
		msg = c.key()
	}
	c.done = append(c.done, fmt.Sprintf("%T%+v", msg, msg))
	run(c.root, func() tea.Msg { return msg })
	c.look()
}

func (c *chaos) look() {
	c.t.Helper()
	size, out := c.root.size, c.root.View()
	if i := wild(out); i >= 0 {
		c.fail("the screen holds %q", out[max(i-40, 0):min(i+40, len(out))])
	}
	lines := strings.Split(out, "\n")
	if len(lines) > size.Height {
		c.fail("the screen has %d lines of %d", len(lines), size.Height)
	}
	for i, l := range lines {
		if w := ansi.StringWidth(l); w > size.Width {
			c.fail("line %d is %d cells wide of %d: %q", i, w, size.Width, l)
		}
	}
}

func (c *chaos) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf(format+"\nafter %q", append(args, c.done[max(len(c.done)-25, 0):])...)
}

// reports writes every report and looks for what must not be in one.
func (c *chaos) reports() {
	c.t.Helper()
	f := c.root.frame
	f.Span, f.Still = time.Hour, true
	rep := Report{Frame: f, Panes: All(), Version: "0.1.0", Started: time.Unix(0, 0), Duration: time.Minute, Interval: time.Second}
	rep.Healthy, rep.Unchecked = Checked(f.Now)
	for name, write := range map[string]func(io.Writer, Report) error{"text": Text, "JSON": JSON, "HTML": HTML} {
		var b bytes.Buffer
		if err := write(&b, rep); err != nil {
			c.fail("%s: %v", name, err)
		}
		if i := wild(strings.ReplaceAll(b.String(), "\t", " ")); i >= 0 {
			c.fail("%s holds %q", name, b.String()[max(i-80, 0):min(i+40, b.Len())])
		}
	}
}

// unleash plays a seed: a story, what is wrong with it, and what is done at the keys.
func unleash(t *testing.T, seed uint64, steps int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 60))
	frame := frames()[[]string{"busy", "extreme", "lossy", "idle", "busy"}[r.IntN(5)]]
	var base []*collectors.Snapshot
	for _, m := range frame.Past[max(len(frame.Past)-40, 0):] {
		base = append(base, m.Snapshot)
	}
	h, snaps := chaotic(t, r, base, []int{20, 200, 2000, 1 << 40}[r.IntN(4)])
	rules := triage.All(nil)
	e := triage.NewEngine(rules, h, nil)
	next := 0
	more := func() bool {
		if next == len(snaps) {
			return false
		}
		e.Tick(snaps[next])
		next++
		return true
	}
	for range r.IntN(10) {
		more()
	}
	recorded := ""
	if r.IntN(4) == 0 {
		recorded = "web1"
	}
	root := New(Config{
		Panes: All(), History: h, Theme: plain(), Version: "0.1.0", Rules: len(rules), Recorded: recorded,
		Save: saver(func(_, _ []byte, _ error) (string, error) { return "x.txt", nil }),
		Copy: func(collectors.Safe) error { return nil },
	})
	c := &chaos{Rand: r, t: t, root: resize(root, 80, 24)}
	root.Update(NewMsg{})
	defer func() {
		if p := recover(); p != nil {
			t.Logf("seed %d, after %q", seed, c.done[max(len(c.done)-25, 0):])
			panic(p)
		}
	}()
	for range steps {
		c.step(more)
	}
	resize(root, 80, 24)
	for more() {
	}
	root.Update(NewMsg{})
	c.look()
	c.reports()
	for _, x := range e.Crashes() {
		t.Errorf("seed %d: rule %s: %s\n%s", seed, x.Name, x.Message, x.Stack)
	}
}

// TestChaos: whatever a recording holds and whoever sits at the keys, nothing breaks, nothing leaves the
// screen, and no name becomes more than text.
func TestChaos(t *testing.T) {
	seeds := uint64(5)
	if raceDetector { // one goroutine: it finds nothing here, and takes five times as long
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { unleash(t, seed, 50) })
		})
	}
}

func FuzzChaos(f *testing.F) {
	f.Add(uint64(60))
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { unleash(t, seed, 200) })
	})
}
