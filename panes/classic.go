// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// Classic is a command line that shows what a pane shows.
type Classic struct {
	Command string // for a shell: what others chose is cleaned and quoted
	From    string // the package it is of: "sysstat", "bcc"
}

// hasClassics is a pane that can say which commands show the same, for what is shown now and for
// the frame's scope.
type hasClassics interface{ classics(f Frame) []Classic }

// classicsOf are the commands of a pane: its own, else those that its Info names.
func classicsOf(p Pane, f Frame) []Classic {
	if h, ok := p.(hasClassics); ok {
		return h.classics(f)
	}
	var out []Classic
	for c := range strings.SplitSeq(p.Info().Command, "; ") {
		if c != "" {
			out = append(out, Classic{Command: c})
		}
	}
	return out
}

// about is what commands are narrowed to. The zero value is the whole host.
type about struct {
	pid    int32
	cpu    string
	disk   string
	iface  string
	cgroup string // path below the mount
	peer   netip.Addr
	port   uint16
}

// scoped is what the frame's scope narrows to.
func scoped(f Frame) about {
	t := f.Scope.Target
	switch t.Kind {
	case collectors.ProcessTarget:
		return about{pid: t.Process.TGID}
	case collectors.CgroupTarget:
		for _, c := range cgroupsIn(f) {
			if c.ID == t.Cgroup {
				return about{cgroup: clean(c.Path)}
			}
		}
	case collectors.DiskTarget:
		for _, d := range disksOf(diskOver(f)) {
			if uint32(d.Dev) == t.Dev {
				return about{disk: clean(d.Name)}
			}
		}
	case collectors.PeerTarget, collectors.SocketTarget:
		return about{peer: t.Addr.Addr().Unmap(), port: t.Addr.Port()}
	case collectors.CPUTarget:
		return about{cpu: strconv.Itoa(int(t.CPU))}
	case collectors.HostTarget, collectors.NamedTarget:
	}
	return about{}
}

func cgroupsIn(f Frame) []cgroupSum {
	rows, _ := cgroupsOver(f)
	return rows
}

// flag is an option with its value before the rest of a command: " -p 812"; "" without a value.
func flag(name, value string) string {
	if value == "" || value == "0" {
		return ""
	}
	return " " + name + quote(value)
}

// process is the option that narrows to the process.
func (a about) process(name string) string { return flag(name+" ", strconv.Itoa(int(a.pid))) }

// destination is the peer as ss filters by it.
func (a about) destination() string {
	switch {
	case !a.peer.IsValid():
		return ""
	case a.port != 0:
		return " dst " + quote(netip.AddrPortFrom(a.peer, a.port).String())
	case a.peer.Is6():
		return " dst " + quote("["+a.peer.String()+"]")
	}
	return " dst " + a.peer.String()
}

// held is what picks the lines of the process out of what ss -p prints, which cannot do so itself.
func (a about) held() string {
	if a.pid == 0 {
		return ""
	}
	return " | grep pid=" + strconv.Itoa(int(a.pid)) + ","
}

// packets is the peer as tcpdump filters by it, after what there may be already.
func (a about) packets(filter string) string {
	if !a.peer.IsValid() {
		return filter
	}
	if filter != "" {
		filter += " and "
	}
	return filter + "host " + a.peer.String()
}

// quote makes one word for a shell of what may hold anything.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/:@%+,=", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ofPackage makes the commands of one package.
func ofPackage(name string, commands ...string) []Classic {
	var out []Classic
	for _, c := range commands {
		out = append(out, Classic{Command: c, From: name})
	}
	return out
}

func sysstat(commands ...string) []Classic { return ofPackage("sysstat", commands...) }
func bcc(commands ...string) []Classic     { return ofPackage("bcc, libbpf-tools", commands...) }
func procps(commands ...string) []Classic  { return ofPackage("procps", commands...) }

// classic is the overlay of e: the commands that show the same. Nothing runs them.
type classic struct {
	title    string
	commands []Classic
	at       int
}

func (r *Root) newClassic() *classic {
	c := &classic{title: r.top().Info().Title}
	for s := r.stacks[r.tab]; len(s) > 0 && len(c.commands) == 0; s = s[:len(s)-1] {
		c.commands = classicsOf(s[len(s)-1], r.frame)
	}
	return c
}

// classicKeys are the keys of the overlay.
func classicKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Copy, "y", "copy", "y").In("copy the command to the terminal's clipboard"),
		keymap.New(keymap.Back, "Esc", "close", "esc", "backspace"),
	}
}

// key implements overlay.
func (o *classic) key(r *Root, msg tea.KeyMsg) tea.Cmd {
	k, ok := r.overlayKey(msg, classicKeys())
	switch {
	case !ok:
	case k.ID == keymap.Back || k.ID == keymap.Quit || k.ID == keymap.Classic:
		r.over = nil
	case k.ID == keymap.Copy && o.at < len(o.commands):
		return r.copy(o.commands[o.at].Command)
	default:
		o.at = moveTo(k.ID, o.at, len(o.commands))
		return terminalKey(k.ID)
	}
	return nil
}

// view implements overlay.
func (o *classic) view(c Canvas) string {
	lines := []string{widget.Title(c.Theme, c.Width, "the same as: "+o.title, "y copies", "nothing is run")}
	first := max(0, min(o.at-(c.Height-1)/2, len(o.commands)-(c.Height-1)))
	for i := first; i < len(o.commands) && len(lines) < c.Height; i++ {
		x := o.commands[i]
		l, style := widget.NewLine(c.Width), c.Theme.Accent
		if i == o.at {
			l.Put(c.Theme.Accent, ">")
			style = c.Theme.Focus
		}
		room := c.Width - 2
		if x.From != "" {
			room -= widget.Width(x.From) + 2
		}
		l.To(1).Put(style, widget.Clip(x.Command, room))
		lines = append(lines, l.Right(c.Theme.Dim, x.From, c.Width-1).String())
	}
	return fit(lines, c.Height)
}
