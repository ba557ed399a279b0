// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// cgroupTape is a recording of some minutes: each second has a row of one cgroup, in turn. The cgroup of
// nginx was made anew in the last minute.
func cgroupTape(t *testing.T) *Replay {
	t.Helper()
	infos := []*CgroupInfo{
		{ID: 1, Path: RawString("/"), Name: RawString("/")},
		{ID: 7, Path: RawString("/system.slice/nginx.service"), Name: RawString("nginx")},
		{ID: 8, Path: RawString("/kubepods/pod-api\x1b[2J"), Name: RawString("pod\x1b[2J")},
		{ID: 9, Path: RawString("/system.slice/sshd.service"), Name: RawString("sshd")},
	}
	var file bytes.Buffer
	rec, err := NewRecorder(&file, RecordHeader{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		info := infos[i%len(infos)]
		if i > 150 && info.ID == 7 {
			again := *info
			again.ID = 70
			info = &again
		}
		s := &Snapshot{At: time.Duration(i) * time.Second, Cgroups: &Cgroups{Rows: []CgroupRow{{CgroupInfo: info}}}}
		if i < 60 && info.ID == 9 { // gone since
			gone := *info
			gone.ID, gone.Path = 10, RawString("/old.service")
			s.Cgroups.Rows[0].CgroupInfo = &gone
		}
		if i%7 == 0 {
			s.Cgroups = nil
		}
		if err := rec.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReplay(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestReplayFindsCgroups(t *testing.T) {
	r := cgroupTape(t)
	for name, tt := range map[string]struct {
		path string
		id   uint64
		name string
		says string
	}{
		"the newest":         {path: "/system.slice/nginx.service", id: 70, name: "nginx"},
		"without a slash":    {path: "system.slice/nginx.service/", id: 70, name: "nginx"},
		"a directory":        {path: "/sys/fs/cgroup/system.slice/sshd.service", id: 9, name: "sshd"},
		"of a v1 hierarchy":  {path: "/sys/fs/cgroup/cpu,cpuacct/system.slice/sshd.service", id: 9, name: "sshd"},
		"the root":           {path: "/", id: 1, name: "/"},
		"the root by mount":  {path: "/sys/fs/cgroup", id: 1, name: "/"},
		"gone long since":    {path: "/old.service", id: 10, name: "sshd"},
		"what others chose":  {path: "/kubepods/pod-api\x1b[2J", id: 8, name: `pod\x1b[2J`},
		"a typing error":     {path: "/system.slice/ngnix.service", says: "no cgroup /system.slice/ngnix.service: near it are /system.slice/nginx.service, "},
		"elsewhere":          {path: "/sshd.service", says: "near it are /system.slice/sshd.service, "},
		"a part of the name": {path: "pod-api", says: `near it are /kubepods/pod-api\x1b[2J, `},
		"nothing like it":    {path: "/sys/fs/cgroupx\x1b[2J", says: `no cgroup /sys/fs/cgroupx\x1b[2J: near it are `},
	} {
		got, err := r.FindCgroup(tt.path)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.ContainsAny(err.Error(), "\x1b\n") || strings.Count(err.Error(), ", ") != mostNear-1 {
				t.Errorf("%s: %v, want %q and %d paths", name, err, tt.says, mostNear)
			}
			continue
		}
		if want := (Target{Kind: CgroupTarget, Cgroup: tt.id, Name: tt.name}); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestReplayWithoutCgroups(t *testing.T) {
	var file bytes.Buffer
	rec, err := NewRecorder(&file, RecordHeader{})
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Add(&Snapshot{At: 1}); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	_, r, err := replayed(t, file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.FindCgroup("/x"); err == nil || err.Error() != "the recording has no cgroups" {
		t.Errorf("error %v", err)
	}
}

func TestChanges(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", ""}: 3, {"", "ab"}: 2, {"nginx", "nginx"}: 0, {"ngnix", "nginx"}: 2, {"kitten", "sitting"}: 3, {"flaw", "lawn"}: 2,
	} {
		if got := changes(pair[0], pair[1]); got != want {
			t.Errorf("changes%q = %d, want %d", pair, got, want)
		}
	}
}
