// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// narrowed is a program that counts targets apart, and a load for it.
type narrowed struct {
	narrow func([]Filter) (Slots, error)
	load   func()                // 23 events, of this process and its children
	count  func(slot int) uint64 // what a slot has counted
	exact  bool                  // count is 23 then; else as many as those of this process, but for chance
}

// both reads two slots while nothing is counted in the first.
func (p *narrowed) both(slot, other int) (n, m uint64) {
	for {
		n, m = p.count(slot), p.count(other)
		if p.count(slot) == n {
			return n, m
		}
	}
}

// allNarrowed are the programs that have filters; each begins anew with a kernel.
func allNarrowed() map[string]func(t *testing.T, k *Kernel) narrowed {
	const n = 23
	return map[string]func(t *testing.T, k *Kernel) narrowed{
		"block": func(t *testing.T, k *Kernel) narrowed { return narrowedBlock(t, k, false) },
		"block before 6.5": func(t *testing.T, k *Kernel) narrowed {
			return narrowedBlock(t, k, true)
		},
		"exec": func(t *testing.T, k *Kernel) narrowed {
			e, err := OpenExec(k, ExecParts{Exec: true, Fork: true, Exit: true})
			if err != nil {
				t.Fatal(err)
			}
			closing(t, e)
			path := tinyIn(t, "tiny", 0)
			return narrowed{e.Narrow, func() {
				for range n {
					if err := exec.Command(path).Run(); err != nil {
						t.Error(err)
					}
				}
			}, func(slot int) uint64 {
				var c ExecCounts
				if err := e.Read(&c, 0); err != nil {
					t.Fatal(err)
				}
				return c.Totals[slot].Execs
			}, true}
		},
		"file": func(t *testing.T, k *Kernel) narrowed {
			f, err := OpenFiles(k)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, f)
			dir := fileDir(t, f)
			return narrowed{f.Narrow, func() {
				for i := range n {
					name := filepath.Join(dir, fmt.Sprint(i))
					if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Remove(name)); err != nil {
						t.Error(err)
					}
				}
			}, func(slot int) uint64 {
				c, err := f.Read()
				if err != nil {
					t.Fatal(err)
				}
				if c[slot].Made != c[slot].Deleted {
					t.Errorf("slot %d: made %d, deleted %d", slot, c[slot].Made, c[slot].Deleted)
				}
				return c[slot].Made
			}, true}
		},
		"flow": narrowedFlow,
		"dns":  narrowedDNS,
		"kmem": narrowedKmem,
		"syscall": func(t *testing.T, k *Kernel) narrowed {
			s := openAllSyscalls(t, k, SyscallCount)
			narrow := func(f []Filter) (Slots, error) { return s.Narrow(f, false) }
			return narrowed{narrow, func() {
				for range n {
					_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
				}
			}, func(slot int) uint64 { return callsOf(t, s, -slot)[unix.SYS_GETPPID].N }, true}
		},
		"signal": func(t *testing.T, k *Kernel) narrowed {
			s, err := OpenSignal(k)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, s)
			signal.Ignore(syscall.SIGHUP)
			t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
			return narrowed{s.Narrow, func() {
				for range n {
					if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
						t.Error(err)
					}
				}
			}, func(slot int) uint64 {
				c, err := s.ReadSlot(slot)
				if err != nil {
					t.Fatal(err)
				}
				return c.Fatal
			}, true}
		},
		"slowfile": narrowedSlowFiles,
		"offcpu": func(t *testing.T, k *Kernel) narrowed {
			o := &OffCPU{}
			if err := o.open(k, OffParts{}); err != nil {
				t.Fatal(err)
			}
			closing(t, o)
			return narrowed{o.Narrow, func() {
				sleepAndWait(n, unix.NsecToTimespec(int64(2100*time.Microsecond)), false)
			}, func(slot int) (sum uint64) {
				c := readOff(t, o, slot)
				for _, n := range c.Off[Slept].Slots[11:] { // from 2 ms on
					sum += n
				}
				return sum
			}, false} // this process's other threads sleep as well
		},
	}
}

func narrowedBlock(t *testing.T, k *Kernel, byBio bool) narrowed {
	b, err := openBlockBy(k, byBio)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, b)
	path, _ := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	return narrowed{b.Narrow, func() { diskIO(t, fd, buf, 23) }, func(slot int) (sum uint64) {
		r := readBlock(t, b)
		for op := range r.Targets[slot].Device {
			sum += r.Targets[slot].Device[op].count()
		}
		return sum
	}, false} // few ends are shown to no program: see undisturbed
}

func narrowedFlow(t *testing.T, k *Kernel) narrowed {
	freshNetns(t)
	f := openFlow(t, k, allFlow())
	listener, at := listenAt(t, "127.0.0.1", 64)
	return narrowed{f.Narrow, func() {
		for range 23 {
			fd := dialTo(t, at, nil)
			server := acceptFrom(t, listener)
			writeAll(t, fd, 5)
			readAll(t, server, 5)
			unix.Close(fd)
			unix.Close(server)
		}
	}, func(slot int) uint64 {
		var r FlowReading
		if err := f.Read(&r, 0); err != nil {
			t.Fatal(err)
		}
		c := &r.Narrowed[slot].Counts
		if c[FlowConnects] != c[FlowAccepts] || c[FlowReceived] != 5*c[FlowConnects] {
			t.Errorf("slot %d: %d connects, %d accepts, %d bytes", slot, c[FlowConnects], c[FlowAccepts], c[FlowReceived])
		}
		return c[FlowConnects]
	}, true}
}

func narrowedDNS(t *testing.T, k *Kernel) narrowed {
	freshNetns(t)
	d := openDNS(t, k)
	at := &unix.SockaddrInet4{Port: 53, Addr: localhost4.As4()}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	id := uint16(0)
	return narrowed{d.Narrow, func() {
		for range 23 {
			id++
			if err := unix.Sendto(fd, dnsMessage(id, 1, "mute.example"), 0, at); err != nil {
				t.Error(err)
			}
		}
	}, func(slot int) uint64 { return readDNS(t, d).Slots[slot].Queries }, true}
}

func narrowedKmem(t *testing.T, k *Kernel) narrowed {
	m := openKmem(t, k)
	dir, round := t.TempDir(), 0
	missingNames(dir, "first", 1)
	keys := dentries(t, m)
	return narrowed{m.Narrow, func() {
		round++
		missingNames(dir, fmt.Sprint("round", round), 23)
	}, func(slot int) (sum uint64) {
		if err := m.Narrowed(func(s AllocSlot, n uint64) {
			if int(s.Slot) == slot && keys[s.Cache] {
				sum += n
			}
		}); err != nil {
			t.Fatal(err)
		}
		return sum
	}, false} // opening a directory makes names as well
}

func narrowedSlowFiles(t *testing.T, k *Kernel) narrowed {
	s, err := openSlowFiles(k, 0, 0)
	var refused *NeedError
	if errors.As(err, &refused) {
		t.Skipf("needs fentry, which this kernel refuses: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	events := openEvents(t, k)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	var seen [FilterSlots]uint64
	narrow := func(f []Filter) (Slots, error) { return s.Narrow(f, true) }
	return narrowed{narrow, func() {
		nap(150 * time.Millisecond) // a new share of the ring
		page := make([]byte, 10)
		for range 23 {
			if _, err := unix.Pread(fd, page, 0); err != nil {
				t.Error(err)
			}
		}
	}, func(slot int) uint64 {
		_, slow := drained(t, events)
		for _, e := range slow {
			for i := range seen {
				if e.Inode == st.Ino && e.Match>>i&1 != 0 {
					seen[i]++
				}
			}
		}
		return seen[slot]
	}, true}
}
