// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sshd is a daemon on loopback with keys of its own.
type sshd struct {
	t      *testing.T
	client []string // ssh with its options and the host
}

func startSSHD(t *testing.T) *sshd {
	t.Helper()
	daemon, client, keygen := tool(t, "sshd"), tool(t, "ssh"), tool(t, "ssh-keygen")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" { // where it locks itself in; the package makes it at boot only
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", at(key)).CombinedOutput(); err != nil {
			t.Fatalf("making the %s's key: %v: %s", key, err, out)
		}
	}
	port := freePort(t)
	write(t, at("config"), strings.Join([]string{
		"ListenAddress 127.0.0.1:" + port,
		"HostKey " + at("host"),
		"AuthorizedKeysFile " + at("user.pub"),
		"PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"UsePAM no", "StrictModes no", "PidFile none", "PrintMotd no", "",
	}, "\n"))
	hostKey, err := os.ReadFile(at("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, at("known"), fmt.Sprintf("[127.0.0.1]:%s %s", port, hostKey))

	var said *strings.Builder
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sshd:\n%s", said)
		}
	})
	said = leash(t, `"$@" & read _; kill $!; wait $!`, daemon, "-D", "-e", "-f", at("config"))
	until(t, "sshd listening", func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return &sshd{t: t, client: []string{
		client, "-F", "none", "-i", at("user"), "-p", port, "-l", me.Username,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + at("known"), "-o", "StrictHostKeyChecking=yes", "127.0.0.1",
	}}
}

// command is ssh running that on the host.
func (s *sshd) command(args ...string) []string {
	return append(append([]string{}, s.client...), args...)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// running are the processes of the program under test: its path is this run's own.
func running(t *testing.T) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if exe, err := os.Readlink(l); err != nil || exe != binary() {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(l, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// onHost waits for the one process of the program and returns its id.
func onHost(t *testing.T) (pid int) {
	t.Helper()
	until(t, "one bpf60 on the host", func() bool {
		pids := running(t)
		if len(pids) == 1 {
			pid = pids[0]
		}
		return len(pids) == 1
	})
	return pid
}

func nothingOnHost(t *testing.T) time.Duration {
	t.Helper()
	return until(t, "bpf60 ending on the host", func() bool { return len(running(t)) == 0 })
}

// Over ssh the dashboard is what it is on a local terminal.
func TestSSH(t *testing.T) {
	asRoot(t)
	s := startSSHD(t)
	p := play{dir: t.TempDir()}.start(t, s.command("-tt", "LANG=C.UTF-8 "+binary())...)
	p.see("60 seconds", "vmstat   r ", "runqlat  p50 ")
	o := held(t, onHost(t))
	p.send("2")
	p.see("[2 CPU]", "usecs", "█")
	p.send("j\r")
	p.see("2 CPU › cpu0", "Esc back")
	p.send("\x1b")
	p.see("[2 CPU]", ">   0")
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("ssh ends with %d, want bpf60's 0", code)
	}
	nothingOnHost(t)
	o.gone(t)
	if f := foreign([]byte(beforeGoodbye(p))); len(f) > 0 {
		t.Errorf("came over ssh: %s", strings.Join(f, " "))
	}
}

// beforeGoodbye is what came before ssh itself said that the connection is closed.
func beforeGoodbye(p *player) string {
	before, _, _ := strings.Cut(string(p.bytes()), "Connection to ")
	return before
}

// A connection that breaks ends the dashboard, soon and without a trace.
func TestSSHBreaks(t *testing.T) {
	asRoot(t)
	const soon = 20 * time.Second // less than a second where nothing else runs; who does not notice stays for ever
	s := startSSHD(t)
	p := play{dir: t.TempDir()}.start(t, s.command("-tt", "LANG=C.UTF-8 "+binary())...)
	p.see("60 seconds")
	o := attached(t, p, onHost(t))
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took := nothingOnHost(t)
	t.Logf("ended after %v", took.Round(time.Millisecond))
	if took > soon {
		t.Errorf("the dashboard outlived its connection by %v, want at most %v", took, soon)
	}
	o.gone(t)
}

// Without a terminal come plain lines, and they end with the connection.
func TestSSHWithoutTerminal(t *testing.T) {
	asRoot(t)
	s := startSSHD(t)
	argv := s.command(binary())
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = cmd.Process.Kill() }
	defer end()
	late := time.AfterFunc(patience, end) // ends the scan, too
	defer late.Stop()
	var last string
	lines := bufio.NewScanner(out)
	for range 3 {
		if !lines.Scan() {
			t.Fatalf("no further line after %q", last)
		}
		last = lines.Text()
		if f := foreign(lines.Bytes()); len(f) > 0 {
			t.Errorf("the line %q is not plain", last)
		}
	}
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  load [\d. ]+  r \d+ b \d+ cs ` + count + ` .*  runqlat n ` + count + ` `)
	if !want.MatchString(last) {
		t.Errorf("the third line is %q, want %v", last, want)
	}
	o := held(t, onHost(t))
	end()
	_ = cmd.Wait() // killed
	nothingOnHost(t)
	o.gone(t)
}
