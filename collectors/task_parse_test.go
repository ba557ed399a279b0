// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePasswd(t *testing.T) {
	got := parsePasswd([]byte("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n# c:x:9:9\n+nis:x:8:8\nbad\nx:y\n:z:3:3\nbig:x:4294967296:1\n" +
		"neg:x:-1:1\nlast:x:4294967295:1::/:/bin/sh"))
	want := map[uint32]Raw{0: RawString("root"), 1<<32 - 1: RawString("last")}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("parsePasswd (-want +got):\n%s", diff)
	}
}

func TestParseCgroups(t *testing.T) {
	tests := map[string]struct {
		in, path, controller string
		shown                bool
	}{
		"unified":            {"0::/system.slice/sshd.service\n", "/system.slice/sshd.service", "unified", true},
		"unified, root":      {"0::/\n", "/", "unified", true},
		"hybrid":             {"5:memory:/docker/ab12\n2:cpu,cpuacct:/docker/ab12\n1:name=systemd:/docker/ab12\n0::/\n", "/docker/ab12", "memory", true},
		"memory in the root": {"5:memory:/\n4:cpu,cpuacct:/a\n0::/b\n", "/b", "unified", false},
		"cpu only":           {"5:memory:/\n4:cpuacct,cpu:/a\n0::/\n", "/a", "cpu", false},
		"systemd only":       {"9:pids:/\n1:name=systemd:/user.slice\n0::/\n", "/user.slice", "name=systemd", false},
		"a colon in a path":  {"0::/a:b\n", "/a:b", "unified", true},
		"a removed one":      {"0::/gone (deleted)\n", "/gone (deleted)", "unified", true},
		"beyond a namespace": {"0::/../../up\n", "/../../up", "unified", true},
		"not its name":       {"3:cpuset,memoryx:/a\n", "/a", "cpuset,memoryx", false},
		"nothing":            {"", "", "", false},
		"rubbish":            {"x\n:\n::\n0::rel\n", "", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path, controller, shown := parseCgroups([]byte(tt.in))
			if string(path) != tt.path || controller != tt.controller || shown != tt.shown {
				t.Errorf("parseCgroups(%q) = %q of %q, shown %t, want %q of %q, %t", tt.in, path, controller, shown, tt.path, tt.controller, tt.shown)
			}
		})
	}
}

func TestParseTaskIO(t *testing.T) {
	tests := map[string]struct {
		in   string
		want taskIO
		ok   bool
	}{
		"all":       {"rchar: 1\nread_bytes: 2\nwrite_bytes: 3\ncancelled_write_bytes: 4\n", taskIO{2, 3, 4}, true},
		"old":       {"read_bytes: 2\nwrite_bytes: 3\n", taskIO{2, 3, 0}, true},
		"half":      {"read_bytes: 2\n", taskIO{2, 0, 0}, false},
		"negative":  {"read_bytes: -2\nwrite_bytes: 3\n", taskIO{}, false},
		"too large": {"read_bytes: 18446744073709551616\nwrite_bytes: 3\n", taskIO{}, false},
		"largest":   {"read_bytes: 18446744073709551615\nwrite_bytes: 3\n", taskIO{1<<64 - 1, 3, 0}, true},
		"empty":     {"", taskIO{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseTaskIO([]byte(tt.in)); got != tt.want || ok != tt.ok {
				t.Errorf("parseTaskIO(%q) = %+v, %v, want %+v, %v", tt.in, got, ok, tt.want, tt.ok)
			}
		})
	}
}
