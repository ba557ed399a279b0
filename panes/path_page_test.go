// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/collectors"
	"bpf60/triage"
)

func TestAlike(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want likeness
	}{
		{"/etc/passwd", "/etc/passwd", samePath},
		{"passwd", "passwd", samePath},
		{"/etc/passwd", "passwd", otherPath}, // a single name says too little
		{"/etc/passwd", "/etc/passwd-", otherPath},
		{"/etc/ssl/openssl.cnf", "ssl/openssl.cnf", endsAlike},
		{"/etc/xssl/openssl.cnf", "ssl/openssl.cnf", otherPath}, // from a whole name on
		{"/srv/var/lib/db/16384", "…/var/lib/db/16384", endsAlike},
		{"/mnt/data/log/x", "/log/x", endsAlike}, // on its file system
		{"/log/x", "/x", otherPath},
		{"", "/x", otherPath},
		{"/", "/x/", otherPath},
	} {
		if got := alike(tt.a, tt.b); got != tt.want {
			t.Errorf("alike(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := alike(tt.b, tt.a); got != tt.want {
			t.Errorf("alike(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}

// pathFrame is twenty seconds in the first fifteen of which two processes open files in /srv/app.
func pathFrame() Frame {
	raw := collectors.RawString
	var f Frame
	for i := 1; i <= 20; i++ {
		at := time.Duration(i) * time.Second
		span := collectors.Span{From: at - time.Second, To: at}
		snap := &collectors.Snapshot{
			At: at, Taken: began.Add(at), Opens: &collectors.Opens{Span: span}, Files: &collectors.Files{Span: span, EveryFS: true}, SlowFiles: &collectors.SlowFiles{Span: span},
			Probes: map[collectors.ID][]collectors.Probe{collectors.OpensID: {{Name: "opensnoop", State: collectors.On}}},
		}
		if i <= 15 {
			o := snap.Opens
			row := func(pid int32, comm, path string, errno uint32, n uint64) collectors.PathRow {
				return collectors.PathRow{Process: collectors.Process{TGID: pid, Start: 7}, Comm: raw(comm), Path: raw(path), Errno: errno, N: n}
			}
			none := row(20, "sh", "/srv/app/a.conf", uint32(unix.ENOENT), 2)
			o.Paths = []collectors.PathRow{
				row(10, "php-fpm", "/srv/app/a.conf", 0, 4), none, row(10, "php-fpm", "/srv/app/b.conf", 0, 1), row(10, "php-fpm", "/srv/other", 0, 100),
			}
			all := none
			all.N = 3 // one more than the rows by process have
			o.Failures = []collectors.PathFailure{{PathRow: all, Processes: 2}}
			o.Events = []collectors.PathEvent{{At: at, Process: collectors.Process{TGID: 10, Start: 7}, TID: 11, Comm: raw("php-fpm"), Ret: 5, Path: raw("/srv/app/a.conf")}}
			snap.Files.Lives = []collectors.FileLife{{At: at, Life: 3 * time.Millisecond, By: collectors.Process{TGID: 30, Start: 7}, Comm: raw("rm"), Path: raw("/app/a.conf"), FS: "xfs"}}
			snap.Files.Churn = []collectors.FileChurn{
				{Process: collectors.Process{TGID: 30, Start: 7}, Comm: raw("rm"), Directory: raw("app"), Made: 1, Deleted: 1},
				{Process: collectors.Process{TGID: 31, Start: 7}, Comm: raw("mv"), Directory: raw("lib"), Made: 1, Deleted: 1},
			}
			snap.SlowFiles.Events = []collectors.SlowFile{{
				At: at, Process: collectors.Process{TGID: 40, Start: 7}, TID: 40, Comm: raw("cp"), Call: "read", Took: 20 * time.Millisecond, Ret: 4096, Asked: 4096, Offset: 0,
				Path: raw("…/x/srv/app/a.conf"), FS: "xfs",
			}}
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: snap})
	}
	return upTo(f, 20)
}

// upTo is the frame n seconds after the beginning.
func upTo(f Frame, n int) Frame {
	f.Past = f.Past[:n]
	f.Now = f.Past[n-1]
	f.At, f.Live = f.Now.Taken, f.Past
	return f
}

// The page of a path has who opens it and with what result, what is deleted and what is slow, and keeps it
// when nothing happens any more.
func TestPathPage(t *testing.T) {
	const name = "/srv/app/a.conf"
	cells := func(tb Table, row int) (out []string) {
		for i, c := range tb.Rows[row].Cells {
			out = append(out, c.Format(tb.Columns[i].Decimals))
		}
		return out
	}
	section := func(p *pathPage, f Frame, id string) Table {
		at := slices.IndexFunc(p.parts.all, func(s section) bool { return s.id == id })
		if at < 0 {
			t.Fatalf("there is no table %s", id)
		}
		return p.parts.table(f, at)
	}
	f := pathFrame()
	for when, n := range map[string]int{"while it happens": 15, "when it is over": 20} {
		f := upTo(f, n)
		p := newPathPage(name, false)
		who := section(p, f, "who")
		want := map[int][]string{
			15: {"4.0", "0.0", "60", "0", "0", "0", "10", "php-fpm"},
			20: {"2.0", "0.0", "60", "0", "0", "0", "10", "php-fpm"}, // five of the ten seconds
		}[n]
		if got := cells(who, 0); len(who.Rows) != 4 || !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, the first %q, want 4 and %q", when, len(who.Rows), got, want)
		}
		if !strings.Contains(strings.Join(who.Notes, "; "), "15 failed opens of processes that are not listed") {
			t.Errorf("%s: the notes %q do not tell of what by command alone is known", when, who.Notes)
		}
		results := section(p, f, "results")
		if len(results.Rows) != 2 || results.Rows[0].ID != "ok" || results.Rows[1].ID != "ENOENT" {
			t.Fatalf("%s: the results are %+v", when, results.Rows)
		}
		if got := cells(results, 1); got[2] != "45" || got[4] != "20" || got[6] != "no such file or directory" {
			t.Errorf("%s: ENOENT is %q", when, got)
		}
		for id, rows := range map[string]int{"opens": 15, "lives": 15, "slow": 15} {
			if got := section(p, f, id); len(got.Rows) != rows {
				t.Errorf("%s: %d rows of %s, want %d", when, len(got.Rows), id, rows)
			}
		}
		if slow := section(p, f, "slow"); !strings.Contains(strings.Join(slow.Notes, "; "), "~ some are found by how their paths end") {
			t.Errorf("%s: the notes %q do not say what is doubtful", when, slow.Notes)
		}
		for _, d := range p.distributions(f) {
			if d.Now.Count() != 15 {
				t.Errorf("%s: %s has %d, want 15", when, d.Title, d.Now.Count())
			}
			if columns := d.over(40); len(columns) != n {
				t.Errorf("%s: %s over time has %d columns, want %d", when, d.Title, len(columns), n)
			}
		}
	}
	p := newPathPage("/srv/app", true)
	if got := section(p, f, "files"); len(got.Rows) != 2 || got.Rows[0].ID != name || got.Rows[1].ID != "/srv/app/b.conf" {
		t.Errorf("the files of the directory are %+v", got.Rows)
	}
	if got := section(p, upTo(f, 15), "churn"); len(got.Rows) != 1 || len(got.Notes) == 0 {
		t.Errorf("of the directory %d processes make and delete files, want 1 and a note: %q", len(got.Rows), got.Notes)
	}
	if got := section(newPathPage("app", true), f, "lives"); len(got.Rows) != 15 {
		t.Errorf("a directory that is known by its last name has %d short-lived files, want 15", len(got.Rows))
	}
	if got := section(newPathPage("/nowhere", false), f, "who"); len(got.Rows) != 0 || len(got.Notes) != 0 {
		t.Errorf("of a path that nobody opens there are %+v, %q", got.Rows, got.Notes)
	}
}

// It is drawn at every size, and says what it waits for.
func TestPathPageScreens(t *testing.T) {
	bare := upTo(pathFrame(), 1)
	bare.Past[0].Opens, bare.Past[0].Files, bare.Past[0].SlowFiles = nil, nil, nil
	denied := fixture("denied").frame
	for name, tt := range map[string]struct {
		f     Frame
		page  *pathPage
		shows []string
	}{
		"now":         {upTo(pathFrame(), 15), newPathPage("/srv/app/a.conf", false), []string{"── /srv/app/a.conf ──", "opens/s", "failed/s", "php-fpm", "age of deleted files", "slow calls"}},
		"over":        {pathFrame(), newPathPage("/srv/app/a.conf", false), []string{"105 in sight", "php-fpm"}},
		"directory":   {pathFrame(), newPathPage("/srv/app", true), []string{"── /srv/app/ ──", "files", "made and deleted"}},
		"never":       {pathFrame(), newPathPage("/x", false), []string{"── /x ──", "nobody has opened or deleted it"}},
		"not yet":     {bare, newPathPage("/x", false), []string{"waiting for"}},
		"not allowed": {denied, newPathPage("/x", false), []string{"needs root"}},
		"long":        {pathFrame(), newPathPage("/"+strings.Repeat("long/", 60)+"name", false), []string{"long/name"}},
	} {
		for _, size := range [][2]int{{80, 21}, {200, 57}, {40, 8}, {20, 3}, {1, 1}} {
			for range drawings {
				out := tt.page.View(tt.f, Canvas{Width: size[0], Height: size[1], Theme: plain(), Focused: true})
				fits(t, out, size[0], size[1])
				if size[0] >= 80 && tt.page.draw.how == asHistogram {
					for _, s := range tt.shows {
						if !strings.Contains(out, s) {
							t.Errorf("%s at %d×%d lacks %q:\n%s", name, size[0], size[1], s, out)
						}
					}
				}
				tt.page.Update(Press{ID: keyDraw, Frame: tt.f})
			}
		}
	}
}

// The tables that have a path lead to its page, and from there Enter leads to the process.
func TestPathPageIsReached(t *testing.T) {
	opens := []string{"8", "v", "v", "v", "v", "v", "v"}
	with := func(keys ...string) []string { return slices.Concat(opens, keys) }
	for name, tt := range map[string]struct {
		keys []string
		want string // the page, or how its title begins
	}{
		"opens":               {with("enter"), "process "},
		"opens, o":            {with("o"), "path"},
		"by directory":        {with("v", "enter"), "path"},
		"by directory, o":     {with("v", "o"), "process "},
		"failed":              {with("v", "v", "enter"), "path"},
		"failed, o":           {with("v", "v", "o"), "process "},
		"slow":                {with("v", "v", "v", "v", "enter"), "process "},
		"slow, o":             {with("v", "v", "v", "v", "o"), "path"},
		"short-lived":         {with("v", "v", "v", "v", "v", "o"), "path"},
		"churn":               {with("v", "v", "v", "v", "v", "v", "o"), "path"},
		"and on":              {with("o", "enter"), "process "},
		"a file of it":        {with("v", "enter", "t", "t", "enter"), "path"},
		"back":                {with("o", "enter", "esc"), "path"},
		"paused":              {with(" ", "left", "left", "o"), "path"},
		"of the process page": {[]string{"3", "enter", "t", "t", "t", "t", "t", "enter"}, "path"},
	} {
		r := resize(fixture("busy"), 80, 24)
		press(r, tt.keys...)
		if got := string(r.top().Info().ID); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q leads to %q, want %q:\n%s", name, tt.keys, got, tt.want, r.View())
		}
		fits(t, r.View(), 80, 24)
	}
}

// A finding that blames a file leads to the file's page, above the table that has it.
func TestFindingsLeadToPaths(t *testing.T) {
	file := func(name string) []triage.Culprit {
		return []triage.Culprit{{Kind: "process", Name: collectors.Clean(collectors.RawString("php"))}, {Kind: "file", Name: collectors.Clean(collectors.RawString(name))}}
	}
	for name, tt := range map[string]struct {
		x         triage.Finding
		path      string // empty: no page
		directory bool
	}{
		"path":      {triage.Finding{ID: "file.open_failures", Pane: "exec", Row: "openfails/", Culprits: file("/etc/x.conf")}, "/etc/x.conf", false},
		"directory": {triage.Finding{ID: "file.open_storm", Pane: "exec", Row: "openers/", Culprits: file("/etc/")}, "/etc", true},
		"last name": {triage.Finding{ID: "file.churn", Pane: "exec", Row: "churn/", Culprits: file("tmp/")}, "tmp", true},
		"no name":   {triage.Finding{ID: "file.churn", Pane: "exec", Row: "churn/", Culprits: file("inode 77/")}, "", false},
		"slow":      {triage.Finding{ID: "fs.slow", Pane: "exec", Row: "slowfiles/", Culprits: file("ext4 …/lib/db/base/1")}, "…/lib/db/base/1", false},
		"mount":     {triage.Finding{ID: "fs.full", Pane: "disk", Row: "fs /srv", Culprits: file("/srv")}, "", false},
		"nobody":    {triage.Finding{ID: "proc.exec_storm", Pane: "exec", Row: "programs"}, "", false},
	} {
		r := resize(fixture("busy"), 80, 24)
		press(r, "1")
		r.answer(leadTo(tt.x))
		p, ok := r.top().(*pathPage)
		if ok != (tt.path != "") || ok && (p.path != tt.path || p.directory != tt.directory) {
			t.Errorf("%s: %s is on the screen: %+v", name, r.top().Info().Title, p)
		}
		press(r, "esc")
		if ok && r.top().Info().ID != ExecPane {
			t.Errorf("%s: Esc leads to %s", name, r.top().Info().ID)
		}
		if press(r, "esc"); ok && r.top().Info().ID != OverviewPane {
			t.Errorf("%s: Esc leads to %s, not to where the finding was", name, r.top().Info().ID)
		}
	}
}
