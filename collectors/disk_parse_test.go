// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Lines as kernels of several ages print them.
const (
	disk418 = " 254       0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"
	disk510 = " 259       0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"
	disk44  = "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n"
)

// diskLineOf is what those lines say, as far as the kernel has the columns.
func diskLineOf(dev DevID, name string, columns uint8) diskLine {
	d := diskLine{Dev: dev, Name: []byte(name), Columns: columns, InFlight: 9}
	d.Read, d.Write, d.BusyMs, d.QueueMs = IOCounts{1, 2, 3, 4}, IOCounts{5, 6, 7, 8}, 10, 11
	if columns >= discardColumns {
		d.Discard = IOCounts{12, 13, 14, 15}
	}
	if columns >= flushColumns {
		d.Flushes, d.FlushMs = 16, 17
	}
	return d
}

func TestParseDiskstats(t *testing.T) {
	negative := diskLineOf(MakeDev(8, 0), "sda", 11)
	negative.InFlight = 0
	tests := map[string]struct {
		in   string
		want []diskLine
		bad  bool
	}{
		"empty":              {"", nil, false},
		"4.4":                {disk44, []diskLine{diskLineOf(MakeDev(8, 0), "sda", 11)}, false},
		"4.18":               {disk418, []diskLine{diskLineOf(MakeDev(254, 0), "vda", 15)}, false},
		"5.10":               {disk510, []diskLine{diskLineOf(MakeDev(259, 0), "nvme0n1", 17)}, false},
		"more columns":       {"259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x\n", []diskLine{diskLineOf(MakeDev(259, 0), "nvme0n1", 17)}, false},
		"old partition":      {"8 1 sda1 1 2 3 4\n" + disk44, []diskLine{diskLineOf(MakeDev(8, 0), "sda", 11)}, false},
		"in flight below 0":  {"8 0 sda 1 2 3 4 5 6 7 8 -1 10 11\n", []diskLine{negative}, false},
		"no end of line":     {"8 0 sda 1 2 3 4 5 6 7 8 9 10 11", []diskLine{diskLineOf(MakeDev(8, 0), "sda", 11)}, false},
		"a name that is bad": {"8 0 \x1b[2J\xff 1 2 3 4 5 6 7 8 9 10 11\n", []diskLine{diskLineOf(MakeDev(8, 0), "\x1b[2J\xff", 11)}, false},
		"no name":            {"8 0\n", nil, true},
		"no number":          {"8 0 sda 1 2 x\n", nil, true},
		"too large":          {"8 0 sda 18446744073709551616 2 3 4 5 6 7 8 9 10 11\n", nil, true},
		"no such major":      {"4096 0 sda 1 2 3 4 5 6 7 8 9 10 11\n", nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseDiskstats([]byte(tt.in), nil)
			if (err != nil) != tt.bad {
				t.Fatalf("parseDiskstats(%q) = %v, want an error: %v", tt.in, err, tt.bad)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parseDiskstats(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseDiskstatsAllocatesNothing(t *testing.T) {
	b := bytes.Repeat([]byte(disk510), 50)
	lines := make([]diskLine, 0, 50)
	if n := testing.AllocsPerRun(20, func() {
		var err error
		if lines, err = parseDiskstats(b, lines[:0]); err != nil || len(lines) != 50 {
			t.Fatal(err, len(lines))
		}
	}); n != 0 {
		t.Errorf("parseDiskstats allocates %v times, want 0", n)
	}
}

func TestParseMount(t *testing.T) {
	mount := func(point, kind, source, options, super string) mountLine {
		return mountLine{
			Dev: MakeDev(8, 1), Root: []byte("/"), Point: []byte(point), Options: []byte(options),
			Type: []byte(kind), Source: []byte(source), Super: []byte(super),
		}
	}
	tests := map[string]struct {
		in   string
		want mountLine
		ok   bool
	}{
		"plain":           {"27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,discard", mount("/", "ext4", "/dev/sda1", "rw,relatime", "rw,discard"), true},
		"shared":          {"27 1 8:1 / /a rw shared:1 master:2 - ext4 /dev/sda1 rw", mount("/a", "ext4", "/dev/sda1", "rw", "rw"), true},
		"escapes":         {`27 1 8:1 / /a\040b rw - ext4 /dev/sda1 rw`, mount(`/a\040b`, "ext4", "/dev/sda1", "rw", "rw"), true},
		"no source":       {"27 1 8:1 / /a rw - tmpfs  rw,size=4k", mount("/a", "tmpfs", "", "rw", "rw,size=4k"), true},
		"ESC":             {"27 1 8:1 / /\x1b[2J rw - tmpfs \x07 rw", mount("/\x1b[2J", "tmpfs", "\x07", "rw", "rw"), true},
		"no dash":         {"27 1 8:1 / / rw ext4 /dev/sda1 rw", mountLine{}, false},
		"no type":         {"27 1 8:1 / / rw -", mountLine{}, false},
		"no device":       {"27 1 8 / / rw - ext4 /dev/sda1 rw", mountLine{}, false},
		"empty":           {"", mountLine{}, false},
		"super is absent": {"27 1 8:1 / / rw - ext4", mount("/", "ext4", "", "rw", ""), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseMount([]byte(tt.in))
			if ok != tt.ok {
				t.Fatalf("parseMount(%q) = %v, want %v", tt.in, ok, tt.ok)
			}
			if d := cmp.Diff(texts(tt.want), texts(got)); ok && (d != "" || got.Dev != tt.want.Dev) {
				t.Errorf("parseMount(%q) (-want +got):\n%s", tt.in, d)
			}
		})
	}
}

func texts(m mountLine) []string {
	return []string{string(m.Root), string(m.Point), string(m.Options), string(m.Type), string(m.Source), string(m.Super)}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{
		"/":         "/",
		`/a\040b`:   "/a b",
		`\011\012`:  "\t\n",
		`/a\134040`: `/a\040`,
		`/a\043`:    "/a#",
		`/a\04`:     `/a\04`,
		`/a\`:       `/a\`,
		`/a\089`:    `/a\089`,
		`/a\777`:    `/a\777`,
		`/a\377`:    "/a\xff",
		`/\\040`:    `/\ `,
		`/日本\040語`:  "/日本 語",
	} {
		if got := unescapeMount([]byte(in)); got != want {
			t.Errorf("unescapeMount(%q) = %q, want %q", in, got, want)
		}
	}
}

const mdstat = `Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]
md2 : active raid5 sdf1[4] sde1[2](F) sdd1[1] sdc1[0] sdg1[5](S)
      2930015232 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/3] [UU_U]
      [==>..................]  recovery = 12.6% (123456789/976671744) finish=127.5min speed=33440K/sec
      bitmap: 0/8 pages [0KB], 65536KB chunk

md1 : active (auto-read-only) raid1 sdb2[1] sda2[0]
      524224 blocks [2/2] [UU]
      	resync=PENDING

md0 : active raid1 sdb1[1] sda1[0]
      1046528 blocks super 1.2 [2/2] [UU]
      [====================>]  check =100.0% (1046528/1046528) finish=0.0min speed=104652K/sec

md3 : active raid0 sdh[1] sdi[0]
      1953260544 blocks super 1.2 512k chunks

md4 : inactive sdj[0](S)
      976630464 blocks super 1.2

unused devices: <none>
`

func TestParseMdstat(t *testing.T) {
	raw := RawString
	want := []Array{
		{
			Name: raw("md2"), Level: raw("raid5"), Active: true, Want: 4, Have: 3, Members: 5, Failed: 1, Spares: 1, Action: raw("recovery"),
			Done: 123456789, All: 976671744, Finish: 127*time.Minute + 30*time.Second, Speed: 33440 << 10,
		},
		{Name: raw("md1"), Level: raw("raid1"), Active: true, ReadOnly: true, Want: 2, Have: 2, Members: 2, Action: raw("resync"), Waits: true},
		{Name: raw("md0"), Level: raw("raid1"), Active: true, Want: 2, Have: 2, Members: 2, Action: raw("check"), Done: 1046528, All: 1046528, Speed: 104652 << 10},
		{Name: raw("md3"), Level: raw("raid0"), Active: true, Members: 2},
		{Name: raw("md4"), Members: 1, Spares: 1},
	}
	if diff := cmp.Diff(want, parseMdstat([]byte(mdstat)), cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("parseMdstat (-want +got):\n%s", diff)
	}
	if got := parseMdstat([]byte("Personalities :\nunused devices: <none>\n")); len(got) != 0 {
		t.Errorf("parseMdstat of no arrays = %+v", got)
	}
}
