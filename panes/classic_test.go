// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"bpf60/collectors"
)

// Every pane, in every state and over every fixture, names a command, and every command is a line
// that a shell can read.
func TestEveryPaneHasClassics(t *testing.T) {
	t.Parallel()
	var all []string
	eachState(func(fixture, state string, r *Root) {
		if _, ok := r.top().(hasClassics); !ok {
			t.Errorf("%s names no commands of its own", state)
		}
		o := r.newClassic()
		if len(o.commands) == 0 {
			t.Errorf("%s of %s: no command shows the same", state, fixture)
		}
		for _, c := range o.commands {
			if strings.TrimSpace(c.Command) != c.Command || c.Command == "" || strings.ContainsAny(c.Command, "\n\r\x1b\u202e") || c.From == "" {
				t.Errorf("%s of %s: %+v is no command", state, fixture, c)
			}
			all = append(all, c.Command)
		}
	})
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) < 60 {
		t.Errorf("there are only %d different commands", len(all))
	}
	check := exec.Command("/bin/sh", "-n")
	check.Stdin = strings.NewReader(strings.Join(all, "\n"))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sh cannot read the commands: %v\n%s", err, out)
	}
}

func TestScopedClassics(t *testing.T) {
	process := collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 4121}}
	peer := collectors.Target{Kind: collectors.PeerTarget, Addr: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.3"), 0)}
	six := collectors.Target{Kind: collectors.PeerTarget, Addr: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::3"), 0)}
	disk := collectors.Target{Kind: collectors.DiskTarget}
	busy := frames()["busy"]
	for _, d := range disksOf(diskOver(busy)) {
		if clean(d.Name) == "nvme0n1" {
			disk.Dev = uint32(d.Dev)
		}
	}
	tests := map[string]struct {
		pane  Pane
		scope collectors.Target
		want  []string // each is among the commands
	}{
		"processes":            {NewProcesses(), collectors.Target{}, []string{"pidstat -urdw 1", "top"}},
		"processes of one":     {NewProcesses(), process, []string{"pidstat -urdw -p 4121 1", "top -p 4121"}},
		"disks":                {NewDisk(), collectors.Target{}, []string{"iostat -xz 1"}},
		"one disk":             {NewDisk(), disk, []string{"iostat -xz nvme0n1 1", "biosnoop -d nvme0n1"}},
		"disks of a process":   {NewDisk(), process, []string{"pidstat -d -p 4121 1"}},
		"sockets":              {NewTCP(), collectors.Target{}, []string{"ss -tinp"}},
		"sockets to a peer":    {NewTCP(), peer, []string{"ss -tinp dst 10.0.0.3"}},
		"to a peer by IPv6":    {NewTCP(), six, []string{"ss -tinp dst '[2001:db8::3]'"}},
		"sockets of a process": {NewTCP(), process, []string{"ss -tinp | grep pid=4121,"}},
		"questions of one":     {NewDNS(), peer, []string{"tcpdump -n port 53 and host 10.0.0.3"}},
		"files of a process":   {NewExec(), process, []string{"exitsnoop -p 4121"}},
		"calls of a process":   {NewSyscalls(), process, []string{"syscount -p 4121 -i 1"}},
		"a process's page":     {newProcessPage(&collectors.ProcInfo{Process: collectors.Process{TGID: 77}, PID: 77}), collectors.Target{}, []string{"pidstat -urdw -p 77 1", "offcputime -p 77 5"}},
		"a disk's page":        {newDiskPage("sda"), collectors.Target{}, []string{"iostat -xz sda 1", "lsblk /dev/sda"}},
		"a peer's page":        {newPeerPage(netip.MustParseAddr("10.0.0.3")), collectors.Target{}, []string{"ss -tinp dst 10.0.0.3", "tcpdump -n tcp and host 10.0.0.3"}},
		"a CPU's page":         {newCPUPage(3), collectors.Target{}, []string{"mpstat -P 3 1"}},
		"a hostile interface":  {&ifacePage{title: "eth0'; reboot #"}, collectors.Target{}, []string{`ethtool -S 'eth0'\''; reboot #'`}},
	}
	for name, tt := range tests {
		f := busy
		f.Scope.Target = tt.scope
		var got []string
		for _, c := range classicsOf(tt.pane, f) {
			got = append(got, c.Command)
		}
		for _, want := range tt.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: the commands are %q, want %q among them", name, got, want)
			}
		}
	}
}

// The commands of the view that is shown are listed, and y copies the one under the cursor.
func TestClassic(t *testing.T) {
	r, got := copies("busy", nil)
	press(r, "5", "e")
	sees(t, r, "disks", "── the same as: Disk ──", ">iostat -xz 1", "sysstat", "y copy")
	press(r, "j", "y")
	sees(t, r, "y", "sent to the clipboard: biolatency -D 1")
	press(r, "esc", "t", "t", "e")
	sees(t, r, "the slowest requests", ">biosnoop")
	press(r, "e")
	sees(t, r, "e again", "── slowest I/O ──")
	if !slices.Equal(*got, []string{"biolatency -D 1"}) {
		t.Errorf("copied %q", *got)
	}
}
