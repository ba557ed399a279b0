// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeLog is a log of records that a test adds to.
type fakeLog struct {
	recs    []kmsgRecord
	lost    uint64
	openErr error
	readErr error
}

func (f *fakeLog) open() error  { return f.openErr }
func (f *fakeLog) name() string { return "fake" }
func (f *fakeLog) close() error { return nil }
func (f *fakeLog) next(_ context.Context, n int, each func(kmsgRecord)) (uint64, bool, error) {
	n = min(n, len(f.recs))
	for _, r := range f.recs[:n] {
		each(r)
	}
	f.recs = f.recs[n:]
	lost := f.lost
	f.lost = 0
	return lost, len(f.recs) > 0, f.readErr
}

func kmsg(seq uint64, prio uint64, at time.Duration, text string) kmsgRecord {
	return kmsgRecord{Prio: prio, Seq: seq, Time: at, Flag: '-', Text: []byte(text)}
}

// logAt returns a collector whose clocks a test moves. The run begins 1,000 s after boot.
func logAt(t *testing.T, sources ...logSource) (c *logCollector, move func(d time.Duration), boot time.Time) {
	t.Helper()
	boot = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	mono := 1000 * time.Second
	c = newLog(sources...)
	c.clock = func() (time.Time, time.Duration, time.Duration) { return boot.Add(mono), mono, 0 }
	start(t, c)
	return c, func(d time.Duration) { mono += d }, boot
}

func TestLogTail(t *testing.T) {
	f := &fakeLog{recs: []kmsgRecord{
		kmsg(1, 6, 0, "Linux version"),
		kmsg(2, 4, 500*time.Second, "a warning"),
		kmsg(3, 3, 900*time.Second, "EXT4-fs error (device vda1)"),
	}}
	c, move, boot := logAt(t, f)
	l := collectAs[*Log](t, c, 0)
	if len(l.New) != 0 || l.Levels != [LogLevels]uint64{} || l.Behind {
		t.Errorf("the first sample counts what was there: %+v", l)
	}
	if len(l.Tail.Records) != 3 || l.Warnings != 1 || l.Errors != 1 || l.Partial {
		t.Errorf("the first sample = %+v, want a tail of 3 with 1 warning and 1 error", l)
	}
	last := l.Tail.Records[2]
	if want := boot.Add(900 * time.Second); !last.At.Equal(want) || last.Unsure || !last.Old || last.Trouble != TroubleFS {
		t.Errorf("the last record = %+v, want at %v, sure, old, an fs error", last, want)
	}

	move(time.Second)
	f.recs = []kmsgRecord{kmsg(4, 8+3, 1000500*time.Millisecond, "EXT4-fs error: says a user"), kmsg(5, 4, 1000600*time.Millisecond, "TCP: Possible SYN flooding on port 80.")}
	f.lost = 7
	next := collectAs[*Log](t, c, time.Second)
	if len(next.New) != 2 || next.Levels[3] != 1 || next.Levels[4] != 1 || next.Lost != 7 || next.LostTotal != 7 {
		t.Errorf("the second sample = %+v, want 2 new, 7 lost", next)
	}
	if r := next.New[0]; r.Facility != 1 || r.Trouble != "" || r.Old {
		t.Errorf("a user's record = %+v, want facility 1 and no trouble", r)
	}
	if r := next.New[1]; r.Trouble != TroubleSYN {
		t.Errorf("Trouble = %q, want %q", r.Trouble, TroubleSYN)
	}
	if len(l.Tail.Records) != 3 || len(next.Tail.Records) != 5 {
		t.Errorf("tails hold %d and %d records, want 3 and 5", len(l.Tail.Records), len(next.Tail.Records))
	}
	move(time.Second)
	if quiet := collectAs[*Log](t, c, 2*time.Second); quiet.Tail != next.Tail || quiet.Lost != 0 || quiet.LostTotal != 7 {
		t.Errorf("a quiet second has a tail of its own, or lost %d", quiet.Lost)
	}
	move(time.Hour)
	if late := collectAs[*Log](t, c, time.Hour); late.Warnings+late.Errors != 0 {
		t.Errorf("an hour later %d warnings and %d errors are of the last hour, want none", late.Warnings, late.Errors)
	}
}

// A log that is longer than one call may take is read on, and its newest records stay.
func TestLogLong(t *testing.T) {
	f := &fakeLog{}
	for i := range 10_000 {
		f.recs = append(f.recs, kmsg(uint64(i), 4, time.Duration(i)*time.Millisecond, fmt.Sprint("line ", i)))
	}
	c, _, _ := logAt(t, f)
	var l *Log
	for i := range 3 {
		if l = collectAs[*Log](t, c, time.Duration(i)*time.Second); l.Behind != (i < 2) || len(l.New) != 0 {
			t.Errorf("call %d: Behind = %v with %d new", i, l.Behind, len(l.New))
		}
	}
	if n := len(l.Tail.Records); n != maxLogRecent || l.Tail.Records[n-1].Text.Bytes() != "line 9999" || !l.Partial {
		t.Errorf("the tail is %d records to %q, partial %v", n, l.Tail.Records[n-1].Text.Bytes(), l.Partial)
	}
	for i := range 300 {
		f.recs = append(f.recs, kmsg(uint64(10_000+i), 6, 1000*time.Second, "flood"))
	}
	if l = collectAs[*Log](t, c, 4*time.Second); len(l.New) != maxLogNew || l.Unlisted != 100 || l.Levels[6] != 300 {
		t.Errorf("300 records: %d listed, %d unlisted, %d counted", len(l.New), l.Unlisted, l.Levels[6])
	}
}

// The kernel's local clock may run ahead of the monotonic one, or behind.
func TestLogClock(t *testing.T) {
	for name, drift := range map[string]time.Duration{"ahead": 90 * time.Second, "behind": -90 * time.Second, "none": 0} {
		t.Run(name, func(t *testing.T) {
			f := &fakeLog{}
			c, move, boot := logAt(t, f)
			collectAs[*Log](t, c, 0)
			move(time.Second)
			f.recs = []kmsgRecord{kmsg(1, 6, 1000500*time.Millisecond+drift, "x")}
			l := collectAs[*Log](t, c, time.Second)
			from, to := boot.Add(1000*time.Second), boot.Add(1001*time.Second)
			if len(l.Tail.Records) != 1 {
				t.Fatalf("%d records", len(l.Tail.Records))
			}
			if at := l.Tail.Records[0].At; at.Before(from) || at.After(to) {
				t.Errorf("written at %v, want within %v and %v", at, from, to)
			}
			if n := len(l.New); n != 1 {
				t.Errorf("%d new records, want 1: everything that comes later is", n)
			}
		})
	}
}

func TestLogContinuation(t *testing.T) {
	f := &fakeLog{}
	c, _, _ := logAt(t, f)
	collectAs[*Log](t, c, 0)
	part := func(seq uint64, flag byte, text string) kmsgRecord {
		r := kmsg(seq, 4, 1000*time.Second, text)
		r.Flag = flag
		return r
	}
	f.recs = []kmsgRecord{part(1, 'c', "one "), part(2, '+', "two "), part(3, '+', "three"), part(4, '-', "four"), part(5, '+', "five")}
	l := collectAs[*Log](t, c, time.Second)
	var got []string
	for _, r := range l.New {
		got = append(got, r.Text.Bytes())
	}
	if diff := cmp.Diff([]string{"one two three", "four", "five"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if l.Levels[4] != 3 {
		t.Errorf("%d lines counted, want 3", l.Levels[4])
	}
}

func TestLogFallback(t *testing.T) {
	need := &NeedError{Need: "the right", Remedy: "be root"}
	f := &fakeLog{}
	c, _, _ := logAt(t, &fakeLog{openErr: need}, f)
	collectAs[*Log](t, c, 0)
	if p := c.Probes()[0]; p.State != Degraded || !strings.Contains(p.Reason, "the right") || p.Remedy != "be root" {
		t.Errorf("Probes = %+v, want degraded, with the reason and remedy", p)
	}
	c = newLog(&fakeLog{openErr: need}, &fakeLog{openErr: errors.New("no")})
	if err := c.Start(t.Context()); !errors.Is(err, need) {
		t.Errorf("Start = %v, want the first need", err)
	}
}

func TestSyslogSource(t *testing.T) {
	text := "<6>[    1.000000] one\n<4>[    2.500000] two\nmore of two\n"
	s := &syslogSource{read: func(b []byte) (int, error) { return copy(b, text), nil }}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	read := func() (out []string, lost uint64) {
		for range syslogEvery {
			n, _, err := s.next(t.Context(), 0, func(r kmsgRecord) { out = append(out, fmt.Sprintf("%d %v %s", r.Prio, r.Time, r.Text)) })
			if err != nil {
				t.Fatal(err)
			}
			lost += n
		}
		return out, lost
	}
	got, _ := read()
	if diff := cmp.Diff([]string{"6 1s one", "4 2.5s two", "6 -1ns more of two"}, got); diff != "" {
		t.Errorf("first reading (-want +got):\n%s", diff)
	}
	text += "<3>[    3.000000] three\n"
	if got, lost := read(); lost != 0 || len(got) != 1 || got[0] != "3 3s three" {
		t.Errorf("second reading = %q, %d lost; want the new line", got, lost)
	}
	if got, lost := read(); lost != 0 || len(got) != 0 {
		t.Errorf("third reading = %q, %d lost; want nothing", got, lost)
	}
	text = "<3>[    9.000000] nine\n"
	if got, lost := read(); lost != 1 || len(got) != 1 {
		t.Errorf("after an overrun = %q, %d lost; want one line, and that some are lost", got, lost)
	}
}

func TestTroubleOf(t *testing.T) {
	tests := map[string]Trouble{
		"Out of memory: Killed process 771 (worker) total-vm:9kB, anon-rss:9kB":                                          TroubleOOM,
		"Memory cgroup out of memory: Killed process 4 (x) total-vm:1kB":                                                 TroubleOOM,
		"java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0":                                                   TroubleOOM,
		"INFO: task jbd2/vda1-8:214 blocked for more than 120 seconds.":                                                  TroubleHung,
		"blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x0":                                    TroubleIO,
		"critical medium error, dev sda, sector 42":                                                                      TroubleIO,
		"EXT4-fs error (device vda1): ext4_find_entry:1455: inode #2: comm ls: reading directory":                        TroubleFS,
		"EXT4-fs (vda1): Remounting filesystem read-only":                                                                TroubleReadOnly,
		"watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [x:1]":                                                        TroubleLockup,
		"rcu: INFO: rcu_preempt self-detected stall on CPU":                                                              TroubleRCU,
		"mce: [Hardware Error]: Machine check events logged":                                                             TroubleEvent,
		"mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 3: be00000000800400":                              TroubleHardware,
		"mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 3: 8c00000000800400":                                        TroubleEvent,
		"mce: Uncorrected hardware memory error in user-access at 3a7b000":                                               TroubleHardware,
		"[Hardware Error]: Corrected error, no action required.":                                                         TroubleCorrected,
		"[Hardware Error]: Deferred error, no action required.":                                                          TroubleHardware,
		"[Hardware Error]: Uncorrected, software restartable error.":                                                     TroubleHardware,
		"[Hardware Error]: CPU:0 (17:1:1) MC15_STATUS[Over|CE|MiscV|-|AddrV|-|-|SyndV|CECC|-|-]: 0xdc2040000000011b":     TroubleCorrected,
		"[Hardware Error]: CPU:0 (17:1:1) MC15_STATUS[-|UE|MiscV|-|AddrV|-|-|SyndV|UECC|-|-]: 0xbc2020000000011b":        TroubleHardware,
		"{1}[Hardware Error]: event severity: corrected":                                                                 TroubleCorrected,
		"{1}[Hardware Error]: event severity: recoverable":                                                               TroubleHardware,
		"{1}[Hardware Error]: event severity: fatal":                                                                     TroubleHardware,
		"{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4":                                 TroubleEvent,
		"EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0)":                          TroubleCorrected,
		"EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0)":                          TroubleHardware,
		"pcieport 0000:00:1c.0: AER: enabled with IRQ 24":                                                                "",
		"pcieport 0000:00:1c.0: AER: Corrected error received: 0000:00:1c.0":                                             TroubleCorrected,
		"pcieport 0000:00:1c.0: AER: Multiple Correctable error message received from 0000:01:00.0":                      TroubleCorrected,
		"pcieport 0000:00:1c.0: AER: Uncorrected (Non-Fatal) error received: 0000:00:1c.0":                               TroubleHardware,
		"pcieport 0000:00:1c.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0":                     TroubleHardware,
		"nvme 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Receiver ID)":                     TroubleCorrected,
		"nvme 0000:01:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Requester ID)": TroubleHardware,
		"pcieport 0000:00:1c.0: AER: device recovery successful":                                                         "",
		"pcieport 0000:00:1c.0: AER: device recovery failed":                                                             TroubleHardware,
		"oom_reaper: reaped process 771 (worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB":                         "",
		"Memory cgroup out of memory: Kill process 771 (worker) score 1000 or sacrifice child":                           TroubleOOM,
		"TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:80. Sending cookies.":                              TroubleSYN,
		"nf_conntrack: nf_conntrack: table full, dropping packet":                                                        TroubleConntrack,
		"a.out[771]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in a.out[401000+1000]":                        TroubleSegfault,
		"Out of memory[9]: segfault at 0 ip 0 sp 0 error 4":                                                              TroubleSegfault,
		"e1000e 0000:00:19.0 eth0: NIC Link is Down":                                                                     TroubleLink,
		"nvme nvme0: I/O 23 QID 4 timeout, aborting":                                                                     TroubleDisk,
		"nfs: server 10.0.3.9 not responding, still trying":                                                              TroubleNFS,
		"BUG: unable to handle page fault for address: 0000000000001000":                                                 TroubleBug,
		"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 35s!":                                     TroubleLockup,
		"hrtimer: interrupt took 1709916 ns":                                                                             "",
		"audit: type=1400 audit(1.1:2): apparmor=\"DENIED\"":                                                             "",
		"": "",
	}
	rules := troubleRules()
	for text, want := range tests {
		if got := troubleOf(rules, text); got != want {
			t.Errorf("troubleOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestParseKmsg(t *testing.T) {
	tests := map[string]struct {
		in   string
		want kmsgRecord
		ok   bool
	}{
		"plain": {"6,339,5140900,-;NET: Registered\n", kmsgRecord{6, 339, 5140900 * time.Microsecond, '-', []byte("NET: Registered"), nil}, true},
		"fields": {
			"4,1,2,c,caller=T1;a;b\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n",
			kmsgRecord{4, 1, 2 * time.Microsecond, 'c', []byte("a;b"), [][]byte{[]byte("SUBSYSTEM=pci"), []byte("DEVICE=+pci:0000:00:01.0")}},
			true,
		},
		"escapes":   {`14,1,2,-;\x1b[31m\x5cx41\x0a`, kmsgRecord{14, 1, 2 * time.Microsecond, '-', []byte("\x1b[31m\\x41\n"), nil}, true},
		"no header": {"hello\n", kmsgRecord{}, false},
		"no number": {"6,x,2,-;a\n", kmsgRecord{}, false},
		"too large": {"6,1,18446744073709551615,-;a\n", kmsgRecord{}, false},
		"empty":     {"", kmsgRecord{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseKmsg([]byte(tt.in))
			if ok != tt.ok {
				t.Fatalf("parseKmsg(%q) = %v, want %v", tt.in, ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parseKmsg(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

// TestLogLive writes 23 lines to the kernel's log and sees 23, hostile bytes unharmed.
func TestLogLive(t *testing.T) {
	c := NewLog(NewFS(""))
	err := c.Start(t.Context())
	if err == nil {
		t.Cleanup(func() { c.Close() })
		_, err = c.Collect(t.Context(), 0)
	}
	if err != nil {
		lacking(t, "needs the kernel's log: %v", err)
	}
	for l := (*Log)(nil); l == nil || l.Behind; {
		l = collectAs[*Log](t, c, 0)
	}
	const n = 23
	mark := fmt.Sprintf("bpf60 test %d", os.Getpid())
	for i := range n {
		// The kernel limits the rate for each opened file (printk_devkmsg).
		fd, err := unix.Open("/dev/kmsg", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			lacking(t, "needs to write /dev/kmsg: %v", err)
		}
		_, err = unix.Write(fd, fmt.Appendf(nil, "<14>%s: %d \x1b[31m\u202e日本\n", mark, i)) // without the newline it could go on, and is not shown
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
	}
	l := collectAs[*Log](t, c, time.Second)
	seen := 0
	for _, r := range l.New {
		if !strings.HasPrefix(r.Text.Bytes(), mark) {
			continue
		}
		if want := fmt.Sprintf("%s: %d \x1b[31m\u202e日本", mark, seen); r.Text.Bytes() != want || r.Level != 6 || r.Facility != 1 || r.Trouble != "" {
			t.Errorf("record = %+v, want %q of a user, info", r, want)
		}
		if age := time.Since(r.At); age < -time.Second || age > 10*time.Second {
			t.Errorf("written %v ago, want a moment ago", age)
		}
		seen++
	}
	if seen != n || l.Lost != 0 {
		t.Errorf("%d of %d lines seen, %d lost", seen, n, l.Lost)
	}
}

func BenchmarkCollectLog(b *testing.B) { benchmarkCollect(b, NewLog(NewFS(""))) }
