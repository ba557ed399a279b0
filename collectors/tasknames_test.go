// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// bookTree is a /proc and an /etc that a test can change.
func bookTree(t *testing.T) (root string, fs FS) {
	t.Helper()
	root = t.TempDir()
	for _, dir := range []string{"proc", "etc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root, NewFS(filepath.Join(root, "proc"))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// settle scans until the reader has answered.
func settle(s *scans, b *nameBook, recs ...taskRec) *Tasks {
	synctest.Wait()
	b.take()
	t := s.next(append([]taskRec{}, recs...)...)
	b.read(s.prev, t)
	synctest.Wait()
	return t
}

func TestNameBook(t *testing.T) {
	root, fs := bookTree(t)
	put(t, root+"/etc/passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/false\n")
	put(t, root+"/proc/5/cmdline", "/usr/bin/python3\x00/srv/app.py\x00--token=abc\x00")
	put(t, root+"/proc/5/cgroup", "0::/system.slice/app.service\n")
	put(t, root+"/proc/6/cmdline", "")
	synctest.Test(t, func(t *testing.T) {
		b := newNameBook(fs)
		b.start()
		defer b.stop()
		s := scans{book: b}
		five := rec(5, 5, 1, 0).with(func(r *taskRec) { r.UID, r.Cgroup = 33, 77 })
		six := rec(6, 6, 1, 0).with(func(r *taskRec) { r.UID, r.Cgroup = 4000, 77 })
		seven := rec(7, 7, 1, 0).with(func(r *taskRec) { r.Kernel = true })
		first := settle(&s, b, five, six, seven)
		if p := first.Key[0].ProcInfo; p.User.Bytes() != "www" || p.ArgsRead != ArgsUnread || p.CgroupPath.Bytes() != "" {
			t.Errorf("at first = %+v, want the user and nothing else", p)
		}
		second := settle(&s, b, five, six, seven)
		if len(second.Rows) != 2 {
			t.Fatalf("%d rows, want those of which there is news: %+v", len(second.Rows), second.Rows)
		}
		p, q := second.Rows[0].ProcInfo, second.Rows[1].ProcInfo
		if p.Args.Bytes() != "/usr/bin/python3 /srv/app.py --token=***" || p.ArgsRead != ArgsRead || p.CgroupPath.Bytes() != "/system.slice/app.service" {
			t.Errorf("then = %+v", p)
		}
		if q.Args.Bytes() != "" || q.ArgsRead != ArgsRead || q.User.Bytes() != "" {
			t.Errorf("without arguments and name = %+v", q)
		}
		if third := settle(&s, b, five, six, seven); len(third.Rows) != 0 {
			t.Errorf("rows without news: %+v", third.Rows)
		}
		// An exec asks anew; the cgroup is known by its ID.
		put(t, root+"/proc/5/cmdline", "sh\x00")
		after := five.with(func(r *taskRec) { r.ExecID, r.Run = 1, 2*ms })
		if got := settle(&s, b, after, six, seven).Rows[0]; got.ArgsRead != ArgsUnread || got.CgroupPath.Bytes() != "/system.slice/app.service" {
			t.Errorf("right after an exec = %+v", got.ProcInfo)
		}
		if got := settle(&s, b, after, six, seven).Rows[0]; got.Args.Bytes() != "sh" {
			t.Errorf("after an exec = %+v", got.ProcInfo)
		}
	})
}

// TestNameBookHierarchies: on a host of version 1 a path names the cgroup of a number only if it is of the
// memory controller's hierarchy. Who ends is in the root of all.
func TestNameBookHierarchies(t *testing.T) {
	root, fs := bookTree(t)
	cgroups := map[int32]string{
		4: "5:memory:/\n3:cpu:/\n0::/\n", // ends
		5: "5:memory:/docker/a\n3:cpu:/docker/a\n0::/\n",
		6: "5:memory:/\n3:cpu:/batch\n0::/\n",
		7: "5:memory:/\n3:cpu:/\n0::/\n",
	}
	for pid, text := range cgroups {
		put(t, fmt.Sprintf("%s/proc/%d/cgroup", root, pid), text)
		put(t, fmt.Sprintf("%s/proc/%d/cmdline", root, pid), "x\x00")
	}
	synctest.Test(t, func(t *testing.T) {
		b := newNameBook(fs)
		b.start()
		defer b.stop()
		s := scans{book: b}
		in := func(pid int32, cgroup uint64) taskRec {
			return rec(pid, pid, 1, 0).with(func(r *taskRec) { r.Cgroup = cgroup })
		}
		recs := []taskRec{in(4, 77), in(5, 77), in(6, rootCgroup), in(7, rootCgroup)}
		settle(&s, b, recs...)
		settle(&s, b, recs...)
		for i := range recs { // names stay when something else changes
			recs[i].Run += ms
			recs[i].Nice = 3
		}
		got := map[int32][2]string{}
		for _, r := range settle(&s, b, recs...).Rows {
			got[r.PID] = [2]string{r.CgroupPath.Bytes(), fmt.Sprint(r.NamedCgroup())}
		}
		want := map[int32][2]string{4: {"/docker/a", "77"}, 5: {"/docker/a", "77"}, 6: {"/batch", "0"}, 7: {"/", "1"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("paths and numbers (-want +got):\n%s", diff)
		}
	})
}

// TestNameBookBatches holds that no scan asks for more than a batch, and that who does something comes
// first.
func TestNameBookBatches(t *testing.T) {
	root, fs := bookTree(t)
	synctest.Test(t, func(t *testing.T) {
		b := newNameBook(fs)
		b.start()
		defer b.stop()
		s := scans{book: b}
		var recs []taskRec
		for i := int32(1); i <= 3*argsBatch; i++ {
			put(t, fmt.Sprintf("%s/proc/%d/cmdline", root, i), "x\x00")
			recs = append(recs, rec(i, i, 1, 0))
		}
		settle(&s, b) // a baseline without processes, so that the first has rows
		recs[99].Start, recs[99].Run = 20_000*ms, 50*ms
		settle(&s, b, recs...)
		got := settle(&s, b, recs...).Rows
		if len(got) != argsBatch {
			t.Errorf("%d command lines in a scan, want %d", len(got), argsBatch)
		}
		found := false
		for _, r := range got {
			found = found || r.PID == 100
		}
		if !found {
			t.Error("the process that ran was not among the first")
		}
	})
}

// TestNameBookHangs has command lines that never end: the collector must not notice, and must give up.
func TestNameBookHangs(t *testing.T) {
	root, fs := bookTree(t)
	for _, pid := range []string{"5", "6"} {
		if err := os.Mkdir(root+"/proc/"+pid, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(root+"/proc/"+pid+"/cmdline", 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(t, root+"/proc/7/cmdline", "seven\x00")
	// Readers block in open(2), out of the reach of a bubble's clock: the time of the book is moved.
	b := newNameBook(fs)
	b.start()
	defer func() { // let the readers go
		for _, pid := range []string{"5", "6"} {
			if f, err := os.OpenFile(root+"/proc/"+pid+"/cmdline", os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
				f.Close()
			}
		}
	}()
	s := scans{book: b}
	recs := []taskRec{rec(5, 5, 1, 0), rec(6, 6, 1, 0), rec(7, 7, 1, 0)}
	state := make(map[int32]ArgsState)
	for range 50 {
		b.take()
		began := time.Now()
		got := s.next(append([]taskRec{}, recs...)...)
		b.read(s.prev, got)
		if d := time.Since(began); d > time.Second {
			t.Fatalf("a scan took %v", d)
		}
		for _, r := range got.Rows {
			state[r.PID] = r.ArgsRead
		}
		if b.reader != nil && b.reader.busy {
			b.reader.since = b.reader.since.Add(-2 * readerPatience)
		}
		time.Sleep(time.Millisecond)
	}
	if state[5] != ArgsStuck || state[6] != ArgsStuck || b.reader != nil || len(b.stuck) != 2 {
		t.Errorf("states = %v, stuck = %v, want both given up, and reading off", state, b.stuck)
	}
	if got, want := b.trouble(), "reading the command line of process 6 blocks: no more command lines are read"; got != want {
		t.Errorf("trouble = %q, want %q", got, want)
	}
}

func TestUserBook(t *testing.T) {
	root, fs := bookTree(t)
	u := newUserBook(fs)
	if got := u.name(0); got.Bytes() != "" {
		t.Errorf("without a file = %q", got.Bytes())
	}
	put(t, root+"/etc/passwd", "root:x:0:0::/:/bin/sh\n")
	u = newUserBook(fs)
	if got := u.name(0); got.Bytes() != "root" {
		t.Errorf("root = %q", got.Bytes())
	}
	u.name(7)
	put(t, root+"/etc/passwd", "root:x:0:0::/:/bin/sh\nnew:x:7:7::/:/bin/sh\n")
	found := -1
	for i := range 2000 {
		if u.name(7).Bytes() == "new" {
			found = i
			break
		}
	}
	if found <= 0 {
		t.Errorf("a new user was found at lookup %d, want later than at once, but found", found)
	}
}
