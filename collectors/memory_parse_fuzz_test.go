// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"testing"
)

func FuzzMemInfo(f *testing.F) {
	seed(f, "meminfo")
	f.Add([]byte(meminfo612))
	names := memFieldNames()
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again MemInfo
		if parseMemInfo(b, names, &m) != nil {
			return
		}
		text := ""
		for name, i := range names {
			if n, ok := m.Get(MemField(i)); ok {
				text += fmt.Sprintf("%s %d\n", name, n)
			}
		}
		if err := parseMemInfo([]byte(text), names, &again); err != nil || again != m {
			t.Errorf("parseMemInfo(%q) = %v, printed and parsed again: %v, %v", b, m, again, err)
		}
	})
}

func FuzzVMEvents(f *testing.F) {
	seed(f, "vmstat")
	f.Add([]byte(vmstat618))
	names := vmEventNames()
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again vmReading
		if parseVMEvents(b, names, &v) != nil {
			return
		}
		text, done := "", uint32(0)
		for name, i := range names { // of the names that are summed one is enough
			if v.known&^done&(1<<i) != 0 {
				text += fmt.Sprintln(name, v.n[i])
				done |= 1 << i
			}
		}
		if err := parseVMEvents([]byte(text), names, &again); err != nil || again != v {
			t.Errorf("parseVMEvents(%q) = %v, printed and parsed again: %v, %v", b, v, again, err)
		}
	})
}

func FuzzGauges(f *testing.F) {
	seed(f, "sys/fs/dentry-state", "sys/fs/file-nr", "sys/fs/inode-nr", "sys/kernel/pty/nr")
	f.Fuzz(func(t *testing.T, b []byte) {
		var g, again [5]TableGauge
		into := func(g *[5]TableGauge) *[5]*TableGauge {
			return &[5]*TableGauge{&g[0], &g[1], &g[2], &g[3], &g[4]}
		}
		if parseGauges(b, into(&g)) != nil {
			return
		}
		text := ""
		for _, x := range g {
			if x.Known {
				text += fmt.Sprint(x.N, " ")
			}
		}
		if err := parseGauges([]byte(text), into(&again)); err != nil || again != g || !g[0].Known {
			t.Errorf("parseGauges(%q) = %v, printed and parsed again: %v, %v", b, g, again, err)
		}
	})
}

func FuzzSwaps(f *testing.F) {
	seed(f)
	f.Add([]byte("Filename Type\n/dev/zram0 partition 8 5 100\n/x\\040y file 1 0 -2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		areas, err := parseSwaps(b)
		if err != nil {
			return
		}
		text := "Filename\n"
		for _, a := range areas {
			kind := "partition"
			if a.File {
				kind = "file"
			}
			text += fmt.Sprintf("%s %s %d %d %d\n", a.Name.Bytes(), kind, a.Size>>10, a.Used>>10, a.Priority)
		}
		again, err := parseSwaps([]byte(text))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(areas) {
			t.Errorf("parseSwaps(%q) = %v, printed and parsed again: %v, %v", b, areas, again, err)
		}
	})
}

func FuzzSlabinfo(f *testing.F) {
	seed(f, "slabinfo")
	f.Add([]byte(slabHead + slabText("a b", 3, 4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parseSlabinfo(b, nil)
		if err != nil {
			return
		}
		text := slabHead
		for _, l := range lines {
			text += fmt.Sprintf("%s %d %d %d %d %d : tunables 0 0 0 : slabdata %d %d 0\n", l.name, l.active, l.objects, l.objSize, l.perSlab, l.pages, l.activeSlabs, l.slabs)
			if l.bytes(64<<10) > 1<<60 {
				t.Errorf("parseSlabinfo(%q): %+v takes %d bytes", b, l, l.bytes(64<<10))
			}
		}
		again, err := parseSlabinfo([]byte(text), nil)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(lines) {
			t.Errorf("parseSlabinfo(%q) = %v, printed and parsed again: %v, %v", b, lines, again, err)
		}
	})
}

func FuzzNode(f *testing.F) {
	seed(f)
	f.Add([]byte("\nNode 0 MemTotal: 100 kB\nNode 0 MemFree: 7 kB\nNode 0 FilePages: 1 kB\nNode 0 AnonPages: 2 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n, again NUMANode
		if parseNode(b, &n) != nil {
			return
		}
		text := fmt.Sprintf("Node 0 MemTotal: %d kB\nNode 0 MemFree: %d kB\nNode 0 FilePages: %d kB\nNode 0 AnonPages: %d kB\n", n.Total>>10, n.Free>>10, n.File>>10, n.Anon>>10)
		if err := parseNode([]byte(text), &again); err != nil || again != n {
			t.Errorf("parseNode(%q) = %v, printed and parsed again: %v, %v", b, n, again, err)
		}
	})
}

func FuzzOwnCgroup(f *testing.F) {
	seed(f)
	f.Add([]byte("4:cpu,memory:/x\n0::/a b:c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path, v1, ok := parseOwnCgroup(b)
		if ok && (len(path) == 0 || path[0] != '/') || !ok && v1 {
			t.Errorf("parseOwnCgroup(%q) = %q, %v, %v", b, path, v1, ok)
		}
	})
}

func FuzzARC(f *testing.F) {
	seed(f)
	f.Add([]byte("13 1 0x01\nname type data\nsize 4 12345\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := parseARC(b)
		if !ok {
			return
		}
		if again, ok := parseARC(fmt.Appendf(nil, "size 4 %d\n", n)); again != n || !ok {
			t.Errorf("parseARC(%q) = %d, printed and parsed again: %d, %v", b, n, again, ok)
		}
	})
}
