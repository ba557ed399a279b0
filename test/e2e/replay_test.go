// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A recording of the host is shown to somebody without any privilege with every pane, steps in time and
// is saved, and its reports are those that root gets.
func TestReplayAsNobody(t *testing.T) {
	asRoot(t)
	dir, err := os.MkdirTemp(filepath.Dir(binary()), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "host.b60")
	if out, err := exec.Command(binary(), "record", "--for", "4s", "--interval", "250ms", file).CombinedOutput(); err != nil {
		t.Fatalf("record: %v\n%s", err, out)
	}
	if err := os.Chown(file, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}

	for _, format := range []string{"text", "json", "html"} {
		var reports [2]string
		for i, user := range []*syscall.Credential{nil, {Uid: nobodyID, Gid: nobodyID}} {
			cmd := exec.Command(binary(), "report", "--format", format, "--from", file)
			cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: user}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("report --from as %+v: %v", user, err)
			}
			reports[i] = string(out)
		}
		if reports[0] != reports[1] || len(reports[0]) < 2000 {
			t.Errorf("the %s reports have %d bytes for root and %d for nobody, and differ", format, len(reports[0]), len(reports[1]))
		}
	}

	p := play{nobody: true, dir: dir}.start(t, binary(), "replay", file)
	p.see("60 seconds", "REPLAY", "vmstat   r ")
	for key, title := range map[string]string{
		"2": "[2 CPU]", "3": "[3 Proc", "4": "[4 Mem", "5": "[5 Disk]", "6": "[6 Net", "7": "[7 TCP]", "8": "[8 ", "0": "[0 Prob",
		":log\r": "[Log]", ":stalls\r": "[Stalls]", ":cgroups\r": "[Cgrp]", ":dns\r": "[DNS]", ":syscalls\r": "[Syscalls]",
	} {
		p.send(key)
		p.see(title)
	}
	p.send("2")
	p.see("[2 CPU]", "run-queue latency")
	p.send("\x1b[D")
	p.see("REPLAY")
	p.send("S")
	p.see("saved bpf60-")
	kinds := ""
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "bpf60-") {
			kinds += filepath.Ext(e.Name())
		}
	}
	if kinds != ".json.txt" {
		t.Errorf("S left %v", list)
	}
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}
