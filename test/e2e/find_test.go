// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bothSizes runs a flow in a terminal of 80×24 and in one of 200×60.
func bothSizes(t *testing.T, flow func(t *testing.T, x *window)) {
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			x := openWindow(t, size[0], size[1], binary())
			x.see("── 60 seconds ──", `^>`) // what is typed before goes to the shell's line
			flow(t, x)
			x.quit()
		})
	}
}

// walkTo moves the cursor down, one row at a time, from the first one to the one that matches.
func walkTo(x *window, pattern string) {
	x.t.Helper()
	there := regexp.MustCompile("^> *" + pattern)
	cursor := func(lines []string) int {
		return slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, ">") })
	}
	x.press("g", "g")
	for was := -1; ; {
		found := false
		lines := x.wait("the cursor going on to "+pattern, func(lines []string) bool {
			at := cursor(lines)
			found = at >= 0 && there.MatchString(lines[at])
			return found || at >= 0 && at != was
		})
		if found {
			return
		}
		was = cursor(lines)
		x.press("j")
	}
}

// Who takes the CPUs is found from the first screen by keys alone: the line of pidstat names it, Enter
// leads to the processes, busiest first, Enter again to its page, and Esc back to the row.
func TestFindHog(t *testing.T) {
	asRoot(t)
	const name = "e2e-odd-hog"
	startLoad(t, name, 3, 20)
	bothSizes(t, func(t *testing.T, x *window) {
		pid := x.see(`^.{4}pidstat +` + name + `\[(\d+)\] %usr \d+`)[1]
		walkTo(x, "pidstat")
		x.press("Enter")
		x.see(`\[3 Proc\]`, `↓%CPU`, `^> +\d+ `)
		walkTo(x, pid+` .*`+name)
		x.press("Enter")
		x.see(`3 Proc › `+name+`\[`+pid+`\] .*Esc back`, `── waits for a CPU ──`, `── runs ──`,
			`[µm]s +`+count+` +█`, `n `+count+` +p99 \d`, `^>? +\d+ .* `+name)
		x.wait("its share of the CPUs", func(lines []string) bool {
			return number(strings.Join(lines, "\n"), `^? ?%CPU +(\d+)`) >= 50
		})
		x.press("Escape")
		x.see(`\[3 Proc\]`, `^> +`+pid+` `)
		x.press("1")
		x.see(`\[1 Over\]`, `^> +pidstat `)
	})
}

// disk makes a block device of a file, and returns its node.
func disk(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	losetup := tool(t, "losetup")
	out, err := exec.Command(losetup, "--find", "--show", image).Output()
	if err != nil {
		lacking(t, fmt.Sprintf("no loop device: %v", err))
	}
	node := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command(losetup, "--detach", node).Run(); err != nil {
			t.Errorf("detaching %s: %v", node, err)
		}
	})
	return node
}

// Who writes to a disk is found: the disk among the others, its page with the latency of its writes, the
// writer on it, and its own page.
func TestFindWriter(t *testing.T) {
	asRoot(t)
	const name = "e2e-odd-writer"
	node := disk(t)
	t.Setenv(loadWrites, node)
	startLoad(t, name, 0, 0)
	bothSizes(t, func(t *testing.T, x *window) {
		dev := filepath.Base(node)
		x.press("5")
		x.see(`\[5 Disk\]`, `^.{1}`+dev+` `)
		walkTo(x, dev+` `)
		x.press("Enter")
		x.see(`5 Disk › `+dev+` .*Esc back`, `── time on the device ──`, `n `+count+` +p99 \d`, `[µm]s +`+count+` +█`,
			`^ writes +\d`, `── who asks ──`)
		pid := x.see(`^> +(\d+) ` + name + ` +` + dev)[1]
		x.press("Enter")
		x.see(`› `+dev+` › `+name+`\[`+pid+`\]|› `+name+`\[`+pid+`\]`, `── waits for a CPU ──`)
		x.press("Escape")
		x.see(`5 Disk › `+dev+` .*Esc back`, `^> +`+pid+` `+name)
		x.press("Escape")
		x.see(`\[5 Disk\]`, `^>`+dev+` `)
	})
}

// loadDeaf makes the test binary a load that sends to a peer that drops all that comes, in a network
// namespace of its own: the kernel sends again and again.
const loadDeaf = "BPF60_E2E_DEAF"

// sendAgain begins ten connections a second to that address, and sends over each what is never
// acknowledged, for two seconds.
func sendAgain(addr string) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for range time.Tick(100 * time.Millisecond) {
		client, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		server, err := l.Accept()
		if err != nil {
			return err
		}
		if err := deafen(server.(*net.TCPConn)); err != nil {
			return err
		}
		if _, err := client.Write(make([]byte, 100)); err != nil {
			return err
		}
		time.AfterFunc(2*time.Second, func() { client.Close(); server.Close() })
	}
	return nil
}

// loopbackUp sets up the loopback interface of the namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// deafen makes a socket drop all that comes from now on, before TCP sees it.
func deafen(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	prog := unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	}); err != nil {
		return err
	}
	return set
}

// What is sent again, to whom, and whose it is, is found from the first screen: the line of TCP, the
// retransmissions by peer, the page of the peer with its connections and their owner.
func TestFindRetransmits(t *testing.T) {
	asRoot(t)
	const name, peer = "e2e-odd-sender", "127.0.0.1:7913"
	t.Setenv(loadDeaf, peer)
	startLoad(t, name, 0, 0)
	bothSizes(t, func(t *testing.T, x *window) {
		x.see(`^.{4}sar TCP .*retransmits ` + peer + ` ` + name + `\[\d+\]`)
		walkTo(x, "sar TCP")
		x.press("Enter")
		x.see(`\[7 TCP\]`, `^ ext +retransmits `+peer+` `+name, `\[events\]`, `^>.* retr (timeout|probe) .*`+name+`\[\d+\] .*`+peer)
		x.press("Enter")
		x.see(`7 TCP › 127\.0\.0\.1 .*Esc back`, `^.{1}retransmits +[\d.]+ /s +`+count, `── connect latency`)
		if !strings.Contains(strings.Join(x.screen(), "\n"), "── events ──") { // a small screen shows one table
			for range 4 {
				x.press("t")
			}
		}
		x.see(`── events ──`, `retr (timeout|probe) .*`+name+`\[\d+\]`)
		x.press("Escape")
		x.see(`\[7 TCP\]`, `^>.* retr (timeout|probe) `)
		x.press("Escape")
		x.see(`\[1 Over\]`, `^> +sar TCP `)
	})
}
