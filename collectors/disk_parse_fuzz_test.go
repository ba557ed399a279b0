// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"strings"
	"testing"
)

func FuzzDiskstats(f *testing.F) {
	for _, s := range []string{disk44, disk418, disk510, disk44 + disk418 + disk510, "8 1 sda1 1 2 3 4\n", "8 0 sda -", "\n \n8"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parseDiskstats(b, nil)
		if err != nil {
			return
		}
		var text strings.Builder
		for _, l := range lines {
			fmt.Fprintf(&text, "%d %d %s", l.Dev.Major(), l.Dev.Minor(), l.Name)
			for i, n := range []uint64{
				l.Read.IOs, l.Read.Merged, l.Read.Sectors, l.Read.Ms, l.Write.IOs, l.Write.Merged, l.Write.Sectors, l.Write.Ms,
				uint64(l.InFlight), l.BusyMs, l.QueueMs, l.Discard.IOs, l.Discard.Merged, l.Discard.Sectors, l.Discard.Ms, l.Flushes, l.FlushMs,
			} {
				if i < int(l.Columns) {
					fmt.Fprintf(&text, " %d", n)
				}
			}
			text.WriteByte('\n')
			if len(l.Name) == 0 {
				t.Errorf("parseDiskstats(%q): a device without a name", b)
			}
		}
		again, err := parseDiskstats([]byte(text.String()), nil)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(lines) {
			t.Errorf("parseDiskstats(%q) = %v, printed and parsed again: %v, %v", b, lines, again, err)
		}
	})
}

func FuzzMountinfo(f *testing.F) {
	for _, s := range []string{
		"27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,discard\n",
		"27 1 8:1 / /a\\040b rw shared:1 - nfs4 10.0.3.9:/x rw\n28 27 8:2 / /a\\040b/c ro - ext4 /dev/sdb rw\n",
		"27 1 0:9 / /\x1b]0;x\x07 rw - tmpfs \xff\xfe rw\n", "27 1 8:1 / / rw - tmpfs  rw", "27 1 8:1 / / rw -", "1 1 4096:1 / / rw - x y z",
		"27 1 8:1 /sub /\\134\\012 rw - btrfs /dev/\\040 rw\n27 1 8:1 / /longer ro - btrfs /dev/x rw\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := listMounts(b)
		seen := make(map[DevID]bool)
		for _, m := range list {
			if seen[m.Dev] || m.Mounts < 1 || len(m.Options.Bytes()) > maxOptions || m.Point.Bytes() == "" {
				t.Errorf("listMounts(%q) = %+v", b, m)
			}
			seen[m.Dev] = true
			// Printed as the kernel would, it is found again.
			point := escapeMount(m.Point.Bytes())
			line := fmt.Sprintf("1 1 %s / %s rw - %s %s rw\n", m.Dev, point, escapeMount(m.Type.Bytes()), escapeMount(m.Source.Bytes()))
			again, _ := listMounts([]byte(line))
			if len(again) != 1 || again[0].Point != m.Point || again[0].Dev != m.Dev || again[0].Source != m.Source {
				t.Errorf("listMounts(%q): %+v, printed and parsed again: %q = %+v", b, m, line, again)
			}
		}
	})
}

func FuzzMdstat(f *testing.F) {
	f.Add([]byte(mdstat))
	f.Add([]byte(mdstat[:len(mdstat)/2]))
	for _, s := range []string{"", "md0 :", "md0 : active\n [/] [//] = ( finish=.min", "m : (\n  resync= (1/0) speed=18446744073709551615K/sec\n", "x : [\n =\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range parseMdstat(b) {
			if a.Name.Bytes() == "" || a.Done > a.All || a.Want < 0 || a.Have < 0 || a.Finish < 0 || a.Failed+a.Spares > 2*a.Members {
				t.Errorf("parseMdstat(%q) = %+v", b, a)
			}
		}
	})
}
