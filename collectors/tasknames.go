// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// nameBook knows what belongs to a process and is not in a scan: its user's name, its cgroup's path
// and its command line. It belongs to the collector's goroutine.
//
// A command line lies in the memory of its process, so that reading it waits for whoever holds that
// memory's lock, for ever if that one is stuck. It is read by a goroutine that the collector never
// waits for, once for each process and exec; the answers come with the next scan.
type nameBook struct {
	fs     FS
	users  userBook
	paths  map[uint64]Raw // of cgroups, by ID
	lines  map[Process]argsAnswer
	reader *argsReader // nil while closed, or given up
	stuck  []Process   // whose command line blocks its reader
	unread []int32     // indices of leaders whose command line is to be read
}

// argsBatch is how many command lines are read between two scans.
const argsBatch = 64

// readerPatience is how long one process may take to read, also on a host that has no CPU to spare.
const readerPatience = 3 * time.Second

// maxStuckNames is how many readers may hang before command lines are given up.
const maxStuckNames = 2

// MaxArgs is how much of a command line is kept.
const MaxArgs = 512

// maxPaths is how many cgroups are remembered.
const maxPaths = 8192

func newNameBook(fs FS) *nameBook { return &nameBook{fs: fs, users: newUserBook(fs)} }

// argsAsk asks for the command line of a process, and for the path of its cgroup if that is not known.
type argsAsk struct {
	Process
	there    int32 // what /proc calls it; 0: not known
	cgroup   uint64
	withPath bool
}

type argsAnswer struct {
	argsAsk
	args  Raw
	path  Raw
	shown bool // path is of the hierarchy that cgroup is of
	state ArgsState
}

// names says whether the path is that of the cgroup. Of whoever is ending the kernel says the root in all
// hierarchies of version 1 (proc_cgroup_show), and the root of one hierarchy may be elsewhere in another.
func (a *argsAnswer) names() bool {
	return a.shown && a.cgroup > rootCgroup && a.path.s != "" && a.path.s != "/"
}

// argsReader reads what is asked of it until there are no more batches.
type argsReader struct {
	batches chan []argsAsk    // one slot, and no batch is sent before the last one's answer
	answers chan []argsAnswer // one slot
	at      atomic.Int64      // index in the batch

	// The collector's.
	busy  bool
	batch []argsAsk
	seen  int64     // at, when it was last looked at
	since time.Time // when it came to that
}

func (b *nameBook) start() {
	b.paths, b.lines, b.stuck = make(map[uint64]Raw), make(map[Process]argsAnswer), nil
	b.reader = b.newReader()
}

// newReader starts a reader. It ends when its batches are closed, unless what it reads never ends.
func (b *nameBook) newReader() *argsReader {
	r := &argsReader{batches: make(chan []argsAsk, 1), answers: make(chan []argsAnswer, 1)}
	go r.run(b.fs)
	return r
}

// stop lets the reader go. It does not wait: nothing depends on what it reads.
func (b *nameBook) stop() {
	if b.reader != nil {
		close(b.reader.batches)
		b.reader = nil
	}
}

func (r *argsReader) run(fs FS) {
	defer func() { _ = recover() }() // a reader that is gone counts as one that hangs
	for batch := range r.batches {
		out := make([]argsAnswer, 0, len(batch))
		for i, ask := range batch {
			r.at.Store(int64(i))
			out = append(out, readNames(fs, ask))
		}
		r.answers <- out
	}
}

// readNames reads the files of one process. One that has ended, or is another one's by now, gives the
// wrong line for a moment at most: its ProcInfo ends with the next scan.
func readNames(fs FS, ask argsAsk) argsAnswer {
	a := argsAnswer{argsAsk: ask, state: ArgsRead}
	if ask.there == 0 {
		a.state = ArgsElsewhere
		return a
	}
	dir := pidDir(ask.there)
	b, err := fs.readSome(dir+"/cmdline", 4*MaxArgs)
	if err != nil {
		a.state = ArgsGone
	}
	a.args = RawString(string(joinArgs(b)))
	if ask.withPath {
		if b, err := fs.readSome(dir+"/cgroup", 16<<10); err == nil {
			path, _, shown := parseCgroups(b)
			a.path, a.shown = RawString(string(path)), shown
		}
	}
	return a
}

// joinArgs makes one line of arguments that end in NUL each, without what is secret in them.
func joinArgs(b []byte) []byte {
	b = MaskSecrets(bytes.TrimRight(b, "\x00"))
	for i, c := range b {
		if c == 0 {
			b[i] = ' '
		}
	}
	return b[:min(len(b), MaxArgs)]
}

// take collects what the reader has found out since.
func (b *nameBook) take() {
	clear(b.lines)
	b.unread = b.unread[:0]
	r := b.reader
	if r == nil || !r.busy {
		return
	}
	select {
	case list := <-r.answers:
		r.busy = false
		for _, a := range list {
			b.lines[a.Process] = a
			if a.names() {
				if len(b.paths) >= maxPaths {
					clear(b.paths)
				}
				b.paths[a.cgroup] = a.path
			}
		}
	default:
		if at := r.at.Load(); at != r.seen {
			r.seen, r.since = at, time.Now()
		} else if time.Since(r.since) > readerPatience {
			b.giveUp(r.batch[min(at, int64(len(r.batch)-1))])
		}
	}
}

// giveUp leaves a reader to itself.
func (b *nameBook) giveUp(ask argsAsk) {
	b.lines[ask.Process] = argsAnswer{argsAsk: ask, state: ArgsStuck}
	b.stuck = append(b.stuck, ask.Process)
	b.stop()
	if len(b.stuck) < maxStuckNames {
		b.reader = b.newReader()
	}
}

// trouble says which process blocks its readers, empty for none.
func (b *nameBook) trouble() string {
	if len(b.stuck) == 0 {
		return ""
	}
	s := fmt.Sprintf("reading the command line of process %d blocks", b.stuck[len(b.stuck)-1].TGID)
	if len(b.stuck) >= maxStuckNames {
		s += ": no more command lines are read"
	}
	return s
}

// describe returns the ProcInfo of a process: the one that is known already if it still tells the
// truth. An exec changes the name, the death of the parent PPID, setuid UID, renice Nice.
func (b *nameBook) describe(r *taskRec) *ProcInfo {
	id := Process{r.TGID, r.Start}
	old := r.info
	var line argsAnswer
	news := false
	if b != nil && len(b.lines) > 0 {
		line, news = b.lines[id]
	}
	if old != nil && !news && old.PPID == r.PPID && old.UID == r.UID && old.Nice == r.Nice && old.Prio == r.Prio &&
		old.Policy == r.Policy && old.Exec == r.ExecID && old.Cgroup == r.Cgroup && old.NetNS == r.NetNS && old.Comm.s == string(r.name()) {
		return old
	}
	info := &ProcInfo{
		Process: id, PID: r.TGID, PPID: r.PPID, UID: r.UID, Comm: RawString(string(r.name())), Kernel: r.Kernel,
		Nice: r.Nice, Prio: r.Prio, Policy: r.Policy, Exec: r.ExecID, NetNS: r.NetNS, Cgroup: r.Cgroup,
	}
	if r.Kernel {
		info.ArgsRead = ArgsRead
	}
	if old != nil && old.Comm == info.Comm { // one string for all
		info.Comm = old.Comm
		if old.Exec == info.Exec {
			info.Args, info.ArgsRead = old.Args, old.ArgsRead
		}
		if old.Cgroup == info.Cgroup {
			info.CgroupPath = old.CgroupPath
		}
	}
	if b == nil {
		return info
	}
	info.User = b.users.name(r.UID)
	if path, ok := b.paths[r.Cgroup]; ok {
		info.CgroupPath = path
	}
	if news {
		info.Args, info.ArgsRead = line.args, line.state
		if line.withPath && (r.Cgroup <= rootCgroup || !line.shown) {
			info.CgroupPath = line.path
		}
	}
	return info
}

// read asks for the command lines that are missing, of those first that do most, then of the newest.
func (b *nameBook) read(recs []taskRec, t *Tasks) {
	r := b.reader
	if r == nil || r.busy {
		return
	}
	for i := range recs {
		if info := recs[i].info; info != nil && info.ArgsRead == ArgsUnread && recs[i].PID == recs[i].TGID {
			b.unread = append(b.unread, int32(i))
		}
	}
	if len(b.unread) == 0 {
		return
	}
	if len(b.unread) > argsBatch {
		did := make(map[Process]time.Duration, len(t.Rows))
		for i := range t.Rows {
			did[t.Rows[i].Process] = t.Rows[i].Run + t.Rows[i].Wait
		}
		sortBy(b.unread, func(x, y int32) int {
			p, q := recs[x].info.Process, recs[y].info.Process
			return cmp.Or(cmp.Compare(did[q], did[p]), cmp.Compare(q.Start, p.Start), cmp.Compare(p.TGID, q.TGID))
		})
		b.unread = b.unread[:argsBatch]
	}
	r.batch = make([]argsAsk, 0, len(b.unread))
	for _, i := range b.unread {
		info := recs[i].info
		_, known := b.paths[info.Cgroup]
		r.batch = append(r.batch, argsAsk{info.Process, recs[i].There, info.Cgroup, !known})
	}
	r.busy, r.seen, r.since = true, 0, time.Now()
	r.at.Store(0)
	r.batches <- r.batch // one slot, and the reader is idle: there is room
}

// userBook knows the names of users as /etc/passwd has them. Other sources, such as LDAP, need
// libraries and may take for ever.
type userBook struct {
	path   string
	names  map[uint32]Raw
	stamp  time.Time // of the file that was read
	size   int64
	unseen int // lookups without a name since the file was last looked at
}

func newUserBook(fs FS) userBook {
	return userBook{path: filepath.Join(filepath.Dir(fs.root), "etc/passwd")}
}

// maxPasswd is how much of the file is read.
const maxPasswd = 4 << 20

// name returns a user's name, empty if it has none there. The file is looked at again for a user
// that it does not know, but not at each scan.
func (u *userBook) name(uid uint32) Raw {
	const patience = 1000
	name, ok := u.names[uid]
	if ok {
		return name
	}
	if u.names != nil && u.unseen%patience != 0 {
		u.unseen++
		return Raw{}
	}
	u.unseen++
	st, err := os.Stat(u.path)
	if err != nil || st.Size() > maxPasswd || u.names != nil && st.ModTime().Equal(u.stamp) && st.Size() == u.size {
		if u.names == nil {
			u.names = make(map[uint32]Raw)
		}
		return Raw{}
	}
	b, err := os.ReadFile(u.path)
	if err != nil {
		return Raw{}
	}
	u.names, u.stamp, u.size = parsePasswd(b), st.ModTime(), st.Size()
	return u.names[uid]
}
