// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"io"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
)

// endKey is what the test types last. No pane has it.
const endKey = "\x11" // ^Q

// untilEnd is a screen that leaves its program at endKey, as it is then.
type untilEnd struct{ *Root }

func (u untilEnd) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if k, ok := msg.(tea.KeyMsg); ok && k.Type == tea.KeyCtrlQ {
		return u, tea.Quit
	}
	_, cmd := u.Root.Update(msg)
	return u, cmd
}

// reads is what is typed: each text is there at once.
type reads []string

// Read implements io.Reader.
func (r *reads) Read(p []byte) (int, error) {
	if len(*r) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*r)[0])
	*r = (*r)[1:]
	return n, nil
}

// typeAll types into a program that shows r.
func typeAll(t *testing.T, r *Root, typed ...string) {
	t.Helper()
	in := reads(append(typed, endKey))
	p := tea.NewProgram(untilEnd{r}, tea.WithInput(&in), tea.WithOutput(io.Discard), tea.WithoutSignalHandler(), tea.WithContext(t.Context()))
	if _, err := p.Run(); err != nil {
		t.Fatal(err)
	}
}

// TestKeysTypedAhead: a key is meant for what the keys before it lead to, though they are there before the screen
// has changed. Esc and a key after it in one read come as Alt and that key.
func TestKeysTypedAhead(t *testing.T) {
	tests := map[string]struct {
		typed []string
		want  []string
		lack  string
	}{
		"Enter and Esc, often":       {[]string{"3j" + strings.Repeat("\r\x1bj\r\x1bk", 20)}, []string{"[3 Proc]", ">   4122"}, "›"},
		"Enter and Esc":              {[]string{"3\r\x1b"}, []string{"[3 Proc]"}, "›"},
		"Enter, Esc and a key":       {[]string{"3\r\x1bj"}, []string{"[3 Proc]", ">   4122"}, "›"},
		"Enter and a key":            {[]string{"3\rj", "\x1b"}, []string{"[3 Proc]", ">   4121"}, "›"},
		"Enter and a filter":         {[]string{"3\r/zzz\r"}, []string{"3 Proc › gzip[4121]", "/zzz"}, ""},
		"the palette and a key":      {[]string{":cpu\rj"}, []string{"[2 CPU]", ">   0"}, ""},
		"the palette and the filter": {[]string{":proc\r/gz\r"}, []string{"[3 Proc]", "/gz  2 of 130 rows"}, ""},
		"Enter on a line":            {[]string{"jjj\rj"}, []string{"[2 CPU]", ">   1"}, ""},
		"Enter, next and a drawing":  {[]string{"2j\rnv"}, []string{"› cpu1", "v heat map"}, ""},
	}
	f := busyStory(91).frame()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(f), 80, 24)
			typeAll(t, r, tt.typed...)
			sees(t, r, name, tt.want...)
			if tt.lack != "" && strings.Contains(r.View(), tt.lack) {
				t.Errorf("the screen shows %q:\n%s", tt.lack, r.View())
			}
		})
	}
}

// TestSeenAfterKeys: y, C, ?, :sort and S are about what the keys before them in the same read lead to.
func TestSeenAfterKeys(t *testing.T) {
	var copied, saved string
	r := resize(root(busyStory(91).frame(), func(c *Config) {
		c.Copy = func(s collectors.Safe) error { copied = s.String(); return nil }
		c.Save = saver(func(text, _ []byte, _ error) (string, error) { saved = string(text); return "x", nil })
	}), 80, 24)
	fresh := func() {
		press(r, "esc", "1")
		r.View()
	}
	r.View()
	press(r, "3jy")
	if !strings.HasPrefix(copied, "PID 4122 ") {
		t.Errorf("after a move in another pane y copies %q, want the row of 4122", copied)
	}
	fresh()
	press(r, "3C")
	sees(t, r, "C in the pane before", "── columns: Processes ──")
	fresh()
	press(r, "3:sort RSS", "enter")
	sees(t, r, "the columns of the pane before", "↓RSS")
	fresh()
	press(r, "3ll?")
	if h, ok := r.over.(*help); !ok || h.column == nil {
		t.Errorf("the help does not begin with the column under the cursor:\n%s", r.View())
	}
	fresh()
	press(r, "5S")
	if screen, _, _ := strings.Cut(saved, strings.Repeat("─", reportWidth)); !strings.Contains(screen, "[5 Disk]") {
		t.Errorf("the snapshot begins with\n%s", screen)
	}
	// Chosen in the help, which was on the screen in place of the pane.
	fresh()
	press(r, "3", "?")
	r.View()
	press(r, "/copy")
	r.View()
	copied = ""
	press(r, "enter")
	if !strings.HasPrefix(copied, "PID ") {
		t.Errorf("copy as chosen in the help copies %q (%s)", copied, r.status.text)
	}
}
