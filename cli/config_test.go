// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bpf60/panes"
	"bpf60/triage"
)

func TestParse(t *testing.T) {
	base := defaults()
	with := func(f func(*options)) options { o := base; f(&o); return o }
	tests := map[string]struct {
		text     string
		want     options
		warnings []string // substrings, in order
		err      string   // substring
	}{
		"empty": {want: base},
		"all": {
			text: `interval = "2s"
theme = "light"
color = "never"
ascii = true
mouse = false
probes = ["-runqlat", "+cpudist"]
panes = ["cpu", "overview"]
[keys]
quit = ["x"]
cpu.draw = "w"
[colors]
crit = "bold 203"
dim = 245
[columns.processes]
show = ["pid", "%CPU", "kb_rd"]
sort = "rss"
reverse = true
[columns.disk-files]
sort = "Use%"`,
			want: with(func(o *options) {
				o.Interval, o.Chosen, o.Theme, o.Color, o.ASCII, o.Mouse = 2*time.Second, true, "light", "never", true, false
				o.Probes, o.Keys = []string{"-runqlat", "+cpudist"}, map[string][]string{"quit": {"x"}, "cpu.draw": {"w"}}
				o.Panes, o.Colors = []string{"cpu", "overview"}, map[string]string{"crit": "bold 203", "dim": "245"}
				o.Columns = map[string]panes.Columns{
					"processes":  {Show: []string{"PID", "%CPU", "kB_rd/s"}, Sort: "RSS", Reverse: true},
					"disk-files": {Sort: "Use%"},
				}
			}),
		},
		"unknown keys": {
			text: "# comment\ncolour = \"never\"\nascii = true\n\n[screen]\nwide = 1\n",
			want: with(func(o *options) { o.ASCII = true }),
			warnings: []string{
				`2: unknown key "colour": use interval, theme, color, ascii, mouse, probes, panes, [colors], [columns.TABLE], [keys]`,
				`5: unknown key "screen"`,
			},
		},
		"impossible values": {
			text: "interval = \"1ns\"\ntheme = \"pink\"\ncolor = \"some\"\nprobes = [\"runqlat\"]\nmouse = false\n",
			want: with(func(o *options) { o.Mouse = false }),
			warnings: []string{
				`1: interval: "1ns" is no interval: use 100ms to 1m0s`, `2: theme: unknown theme "pink": use dark, light`,
				`3: color: unknown value "some": use auto`, `4: probes: "runqlat" needs a sign`,
			},
		},
		"unknown probe": {text: `probes = ["-foo"]`, want: base, warnings: []string{`1: probes: unknown probe "foo": use runqlat, cpudist`}},
		"unknown key id": {
			text:     "\n[keys]\nfly = [\"f\"]\ncpu.draw = [\"w\"]\n",
			want:     with(func(o *options) { o.Keys = map[string][]string{"cpu.draw": {"w"}} }),
			warnings: []string{"3: keys: no key is called \"fly\"; `bpf60 keys` lists them"},
		},
		"unknown key and conflict": {
			text:     "[keys]\n\"cpu.draw\" = [\"q\"]\n# more\nquit = [\"hyper+q\"]\n",
			want:     with(func(o *options) { o.Keys = map[string][]string{} }),
			warnings: []string{`2: keys: cpu.draw: "q" is both`, `4: keys: quit: there is no key "hyper+q"; use one such as x`},
		},
		"many lines are in their order": {
			text:     strings.Repeat("\n", 8) + "a = 1\n" + "b = 2\n",
			want:     base,
			warnings: []string{`9: unknown key "a"`, `10: unknown key "b"`},
		},
		"impossible panes": {text: `panes = ["cpu", "cpus"]`, want: base, warnings: []string{`1: panes: unknown pane "cpus": use overview, cpu`}},
		"impossible colours": {
			text:     "[colors]\nbackground = \"red\"\ncrit = \"pink\"\n",
			want:     with(func(o *options) { o.Colors = map[string]string{} }),
			warnings: []string{`2: colors: background: no style is called "background": use accent`, `3: colors: crit: "pink" is neither`},
		},
		"impossible columns": {
			text: "[columns.process]\nshow = [\"PID\"]\n[columns.processes]\nshow = [\"PIDS\"]\n[columns.cpu]\nwidth = 3\n[columns.disk]\nsort = [\"r/s\"]\n",
			want: with(func(o *options) { o.Columns = map[string]panes.Columns{"cpu": {}} }),
			warnings: []string{
				`1: columns: there is no table "process": use cpu, cpu-softirqs`, `3: columns: processes has no column "PIDS": use PID, USER`,
				`6: columns.cpu: unknown key "width": use show, sort, reverse`, `8: columns.disk: sort: write show = `,
			},
		},
		"thresholds": {
			text: "[thresholds]\ncpu.saturated.wait = 30\n\"cpu.steal.share\" = 12.5\n[thresholds.cpu.softirq]\ncpu = 90\n",
			want: with(func(o *options) {
				o.Limits = triage.Limits{"cpu.saturated.wait": 30, "cpu.steal.share": 12.5, "cpu.softirq.cpu": 90}
			}),
		},
		"impossible thresholds": {
			text: "[thresholds]\ncpu.saturatd.wait = 30\ncpu.saturated.waits = 30\ncpu.steal.share = 101\ncpu.steal.critical = nan\ncpu.softirq.mean = \"20\"\ncpu.softirq.cpu = 1\n",
			want: with(func(o *options) { o.Limits = triage.Limits{"cpu.softirq.cpu": 1} }),
			warnings: []string{
				`2: thresholds: cpu.saturatd.wait: there is no such finding: use cpu.`,
				`3: thresholds: cpu.saturated.waits: cpu.saturated has no such limit: use runnable, idle, wait`,
				`4: thresholds: cpu.steal.share: 101 is out of range: use 1 to 100 %`, `5: thresholds: cpu.steal.critical: NaN is out of range`,
				`6: thresholds: cpu.softirq.mean: a number is needed, without quotes`,
			},
		},
		"wrong kinds": {
			text: "ascii = true\ninterval = 5\nprobes = [1]\nkeys = 1\n[theme]\nname = \"dark\"\n",
			want: with(func(o *options) { o.ASCII = true }),
			warnings: []string{
				`2: interval: "5" is no interval: use 100ms to 1m0s`, `3: probes: a list of texts`, `4: keys is a table: write [keys]`,
				`5: theme is no table: write theme = …`,
			},
		},
		"broken": {text: "ascii = true\ninterval = \n", want: base, err: "2: "},
	}
	p := fakeParts(nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := defaults()
			warnings, err := o.parse([]byte(tt.text), &p)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("parse = %v, want %q", err, tt.err)
			}
			if d := cmp.Diff(tt.want, o, cmp.Comparer(func(a, b panes.Scope) bool { return a == b })); d != "" {
				t.Errorf("options (-want +got):\n%s", d)
			}
			if len(warnings) != len(tt.warnings) {
				t.Fatalf("warnings = %q, want %q", warnings, tt.warnings)
			}
			for i, want := range tt.warnings {
				if !strings.HasPrefix(warnings[i], want) {
					t.Errorf("warning %d = %q, want %q", i, warnings[i], want)
				}
			}
		})
	}
}

// switchedOn is the printed file with its keys and limits, which are comments in it.
func switchedOn(text string) string {
	keys := regexp.MustCompile(`(?m)^# ("?[a-z0-9.-]+"? = \[)`)
	limits := regexp.MustCompile(`(?m)^# ([a-z_]+\.[a-z0-9_]+\.[a-z0-9_]+ = )`)
	before, after, _ := strings.Cut(text, "\n[keys]\n")
	return limits.ReplaceAllString(before, "$1") + "\n[keys]\n" + keys.ReplaceAllString(after, "$1")
}

// The printed file changes nothing, and with its examples switched on it changes nothing either:
// what it documents is what the reader knows.
func TestPrintDefault(t *testing.T) {
	p := fakeParts(nil)
	real := builtin()
	p.keys = real.keys
	text := printDefault(&p)
	for name, s := range map[string]string{"as printed": text, "with the keys and limits": switchedOn(text)} {
		o := options{BPF: true}
		warnings, err := o.parse([]byte(s), &p)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: parse = %q, %v", name, warnings, err)
		}
		sections, problems := p.keys(o.Keys)
		if len(problems) > 0 {
			t.Errorf("%s: keys: %v", name, problems)
		}
		standard, _ := p.keys(nil)
		for i, s := range sections {
			for j, k := range s.Keys {
				if d := cmp.Diff(standard[i].Keys[j].Keys(), k.Keys()); d != "" && o.Keys[k.ID] == nil {
					t.Errorf("%s: %s (-want +got):\n%s", name, k.ID, d)
				}
			}
		}
		if name == "with the keys and limits" && len(o.Keys) < 60 {
			t.Errorf("only %d keys are printed", len(o.Keys))
		}
		for _, r := range triage.All(nil) {
			for _, l := range r.Limits {
				if v, ok := o.Limits[r.ID+"."+l.Name]; name == "with the keys and limits" && (!ok || v != l.Default) {
					t.Errorf("%s: %s.%s = %v, %v, want %v", name, r.ID, l.Name, v, ok, l.Default)
				}
			}
		}
		o.Keys, o.Colors, o.Columns, o.Limits = nil, nil, nil, nil
		if d := cmp.Diff(defaults(), o, cmp.Comparer(func(a, b panes.Scope) bool { return a == b })); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for _, key := range scalars() {
		if !strings.Contains(text, "\n"+key+" = ") || !strings.Contains(text, "BPF60_"+strings.ToUpper(key)) {
			t.Errorf("the key %s or its variable is not explained", key)
		}
	}
}

func FuzzParse(f *testing.F) {
	p := fakeParts(nil)
	f.Add(printDefault(&p))
	f.Add("[keys]\nquit = [\"x\"]\n[[a]]\n]\n[")
	f.Add("a.b.c = 1\n\"x\" = 2")
	f.Fuzz(func(_ *testing.T, s string) {
		o := defaults()
		_, _ = o.parse([]byte(s), &p)
	})
}

func TestReadTrusted(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode, uid int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("ascii = true\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if uid != os.Getuid() {
			if err := os.Chown(path, uid, -1); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	uid := os.Getuid()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := file("large", 0o600, uid)
	if err := os.Truncate(large, maxConfig+1); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, err string }{
		"own":                {path: file("own", 0o600, uid)},
		"readable":           {path: file("readable", 0o644, uid)},
		"group may write":    {file("group", 0o660, uid), "chmod go-w"},
		"others may write":   {file("others", 0o606, uid), "chmod go-w"},
		"FIFO":               {fifo, "not a regular file"},
		"directory":          {dir, "not a regular file"},
		"missing":            {filepath.Join(dir, "missing"), "no such file"},
		"large":              {large, "larger than"},
		"of somebody else's": {"", "belongs to user 1234"},
	}
	if uid == 0 {
		tests["of somebody else's"] = struct{ path, err string }{file("foreign", 0o600, 1234), "belongs to user 1234"}
	} else {
		delete(tests, "of somebody else's")
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data, err := readTrusted(tt.path, uid)
			if tt.err == "" {
				if err != nil || string(data) != "ascii = true\n" {
					t.Errorf("readTrusted = %q, %v", data, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("readTrusted = %v, want %q", err, tt.err)
			}
		})
	}
}

// resolve runs the resolution that every command begins with.
func resolve(t *testing.T, w *world, args ...string) (options, error) {
	t.Helper()
	w.parts = fakeParts(nil)
	c := &commands{world: w}
	var got options
	root := c.root()
	root.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		got, err = c.options(cmd)
		return err
	}
	root.SetArgs(append([]string{}, args...))
	err := root.Execute()
	return got, err
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	etc := write("etc.toml", "theme = \"mono\"\ncolor = \"16\"\ninterval = \"5s\"\nascii = true\n")
	write("home/.config/bpf60/config.toml", "color = \"256\"\ninterval = \"4s\"\nascii = false\n")
	other := write("other.toml", "interval = \"9s\"\n")
	write("xdg/bpf60/config.toml", "interval = \"8s\"\n")
	home := identity{uid: os.Getuid(), home: filepath.Join(dir, "home")}

	type result struct {
		Interval     time.Duration
		Theme, Color string
		ASCII, Mouse bool
	}
	tests := map[string]struct {
		env     map[string]string
		args    []string
		changed bool
		want    result
	}{
		"files":           {want: result{4 * time.Second, "mono", "256", false, true}},
		"variable":        {env: map[string]string{"BPF60_INTERVAL": "3s"}, want: result{3 * time.Second, "mono", "256", false, true}},
		"flag":            {env: map[string]string{"BPF60_INTERVAL": "3s"}, args: []string{"--interval", "2s", "--no-mouse"}, want: result{2 * time.Second, "mono", "256", false, false}},
		"flag as default": {args: []string{"--interval", "1s", "--ascii=false"}, want: result{time.Second, "mono", "256", false, true}},
		"named file":      {args: []string{"--config", other}, want: result{9 * time.Second, "mono", "16", true, true}},
		"BPF60_CONFIG":    {env: map[string]string{"BPF60_CONFIG": other}, want: result{9 * time.Second, "mono", "16", true, true}},
		"XDG":             {env: map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "xdg")}, want: result{8 * time.Second, "mono", "16", true, true}},
		"identity changed": {
			env:     map[string]string{"BPF60_CONFIG": other, "XDG_CONFIG_HOME": filepath.Join(dir, "xdg")},
			changed: true, want: result{4 * time.Second, "mono", "256", false, true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			who := home
			who.changed = tt.changed
			o, err := resolve(t, &world{env: func(k string) string { return tt.env[k] }, who: who, etc: etc}, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			got := result{o.Interval, o.Theme, o.Color, o.ASCII, o.Mouse}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if len(o.Warnings) > 0 {
				t.Errorf("warnings = %q", o.Warnings)
			}
		})
	}
}

// The user's file stands over the system's also where it says that there is nothing, and the printed
// file brings back the defaults of what it sets.
func TestUserOverSystem(t *testing.T) {
	const system = `interval = "5s"
theme = "mono"
color = "16"
ascii = true
mouse = false
probes = ["-runqlat"]
panes = ["cpu"]
[keys]
quit = ["x"]
[thresholds]
cpu.saturated.wait = 30
[columns.processes]
show = ["PID", "COMMAND"]
sort = "PID"
reverse = true
`
	p := fakeParts(nil)
	printed := printDefault(&p)
	every := switchedOn(printed) + "[columns.processes]\nshow = []\nsort = \"\"\nreverse = false\n"
	all := func() options {
		o := defaults()
		if warnings, err := o.parse([]byte(system), &p); err != nil || len(warnings) > 0 {
			t.Fatalf("the system's file: %q, %v", warnings, err)
		}
		return o
	}
	with := func(f func(*options)) options { o := all(); f(&o); return o }
	standard, _ := p.keys(nil)
	tests := map[string]struct {
		user     string
		want     options
		warnings []string
	}{
		"nothing":        {"", all(), nil},
		"no probes":      {"probes = []", with(func(o *options) { o.Probes = nil }), nil},
		"no panes":       {"panes = []", with(func(o *options) { o.Panes = nil }), nil},
		"no columns":     {"[columns.processes]\nshow = []", with(func(o *options) { o.Columns = map[string]panes.Columns{"processes": {}} }), nil},
		"no key":         {"[keys]\nquit = []", with(func(o *options) { o.Keys = map[string][]string{"quit": {}} }), nil},
		"no list at all": {"interval = []\nmouse = []", all(), []string{`1: interval: "" is no interval`, `2: mouse: "" is neither`}},
		"as printed": {printed, with(func(o *options) {
			d := defaults()
			o.Interval, o.Chosen, o.Theme, o.Color, o.ASCII, o.Mouse, o.Probes, o.Panes = d.Interval, d.Chosen, d.Theme, d.Color, d.ASCII, d.Mouse, d.Probes, d.Panes
		}), nil},
		"printed, with what is commented out": {every, with(func(o *options) {
			*o = defaults()
			o.Columns, o.Keys, o.Limits = map[string]panes.Columns{"processes": {}}, map[string][]string{}, triage.Limits{}
			for _, k := range standard[0].Keys {
				o.Keys[k.ID] = k.Keys()
			}
			for _, r := range triage.All(nil) {
				for _, l := range r.Limits {
					o.Limits[r.ID+"."+l.Name] = l.Default
				}
			}
		}), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := all()
			warnings, err := o.parse([]byte(tt.user), &p)
			if err != nil || len(warnings) != len(tt.warnings) {
				t.Fatalf("parse = %q, %v, want %q", warnings, err, tt.warnings)
			}
			for i, want := range tt.warnings {
				if !strings.HasPrefix(warnings[i], want) {
					t.Errorf("warning %d = %q, want %q", i, warnings[i], want)
				}
			}
			if len(o.Colors) == 0 {
				o.Colors, tt.want.Colors = nil, nil // an empty table changes no colour
			}
			if d := cmp.Diff(tt.want, o, cmp.Comparer(func(a, b panes.Scope) bool { return a == b })); d != "" {
				t.Errorf("options (-want +got):\n%s", d)
			}
		})
	}
}

func TestConfigProblems(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("theme = \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	who := identity{uid: os.Getuid()}
	if _, err := resolve(t, &world{env: none, who: who, etc: filepath.Join(dir, "none")}, "--config", filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file named by --config is no error")
	}
	if _, err := resolve(t, &world{env: none, who: who, etc: filepath.Join(dir, "none")}, "--config", bad); err == nil {
		t.Error("a broken file named by --config is no error")
	}
	o, err := resolve(t, &world{env: none, who: who, etc: bad})
	if err != nil || len(o.Warnings) != 1 || !strings.HasPrefix(o.Warnings[0], "reading "+bad+":1: ") {
		t.Errorf("a broken system file: %v, warnings %q, want one with file and line", err, o.Warnings)
	}
	bogus := func(k string) string { return map[string]string{"BPF60_COLOR": "pink"}[k] }
	if _, err := resolve(t, &world{env: bogus, who: who, etc: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "BPF60_COLOR") {
		t.Errorf("a bad variable: %v, want an error that names it", err)
	}
}

func TestWhoami(t *testing.T) {
	none := whoami(func(string) string { return "" })
	if none.changed || none.lent || none.uid != os.Getuid() {
		t.Errorf("without sudo: %+v", none)
	}
	need(t, os.Geteuid() == 0, "root")
	env := map[string]string{"SUDO_UID": "4321", "SUDO_GID": "8765", "HOME": "/root", "XDG_CONFIG_HOME": "/tmp/evil"}
	id := whoami(func(k string) string { return env[k] })
	if d := cmp.Diff(identity{uid: 4321, gid: 8765, lent: true, changed: true}, id, cmp.AllowUnexported(identity{})); d != "" {
		t.Errorf("under sudo (-want +got):\n%s", d)
	}
	if got := id.userConfig(func(k string) string { return env[k] }); got != "" {
		t.Errorf("userConfig of a user without a home = %q", got)
	}
	env = map[string]string{"SUDO_UID": "0", "HOME": "/root"}
	if id := whoami(func(k string) string { return env[k] }); id.lent || id.home != "/root" {
		t.Errorf("sudo by root: %+v", id)
	}
}
