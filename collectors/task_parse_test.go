// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
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
	tests := map[string]struct{ in, path, controller string }{
		"unified":            {"0::/system.slice/sshd.service\n", "/system.slice/sshd.service", "unified"},
		"unified, root":      {"0::/\n", "/", "unified"},
		"hybrid":             {"5:memory:/docker/ab12\n2:cpu,cpuacct:/docker/ab12\n1:name=systemd:/docker/ab12\n0::/\n", "/docker/ab12", "memory"},
		"memory in the root": {"5:memory:/\n4:cpu,cpuacct:/a\n0::/b\n", "/b", "unified"},
		"cpu only":           {"5:memory:/\n4:cpuacct,cpu:/a\n0::/\n", "/a", "cpu"},
		"systemd only":       {"9:pids:/\n1:name=systemd:/user.slice\n0::/\n", "/user.slice", "name=systemd"},
		"a colon in a path":  {"0::/a:b\n", "/a:b", "unified"},
		"a removed one":      {"0::/gone (deleted)\n", "/gone (deleted)", "unified"},
		"beyond a namespace": {"0::/../../up\n", "/../../up", "unified"},
		"not its name":       {"3:cpuset,memoryx:/a\n", "/a", "cpuset,memoryx"},
		"nothing":            {"", "", ""},
		"rubbish":            {"x\n:\n::\n0::rel\n", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path, controller := parseCgroups([]byte(tt.in))
			if string(path) != tt.path || controller != tt.controller {
				t.Errorf("parseCgroups(%q) = %q of %q, want %q of %q", tt.in, path, controller, tt.path, tt.controller)
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

func TestMaskSecrets(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":            {"sshd|-D|-p|22", "sshd|-D|-p|22"},
		"assigned":         {"app|--password=hunter2|--port=80", "app|--password=***|--port=80"},
		"next":             {"app|--token|abc|-v", "app|--token|***|-v"},
		"next is a flag":   {"app|--token|-v", "app|--token|-v"},
		"variable":         {"env|DB_PASSWORD=x|HOME=/root", "env|DB_PASSWORD=***|HOME=/root"},
		"property":         {"java|-Djavax.net.ssl.keyStorePassword=x", "java|-Djavax.net.ssl.keyStorePassword=***"},
		"key, as a word":   {"app|--api-key=x|--keymap=us|--monkey=y", "app|--api-key=***|--keymap=us|--monkey=y"},
		"in a URL":         {"pg|postgres://u:p@host/db?x=1", "pg|postgres://u:***@host/db?x=1"},
		"two URLs":         {"x|a://u:p@h,b://v:q@i", "x|a://u:***@h,b://v:***@i"},
		"no password":      {"x|https://u@host/", "x|https://u@host/"},
		"mysql":            {"/usr/bin/mysqldump|-uroot|-phunter2|db", "/usr/bin/mysqldump|-uroot|-p***|db"},
		"not mysql":        {"cp|-pr|a|b", "cp|-pr|a|b"},
		"curl":             {"curl|-u|me:pw|http://h/", "curl|-u|me:***|http://h/"},
		"access key":       {"aws|AKIAIOSFODNN7EXAMPLE|x", "aws|AKIA***|x"},
		"not quite a key":  {"aws|AKIAiosfodnn7example|x", "aws|AKIAiosfodnn7example|x"},
		"private key":      {"x|-----BEGIN RSA PRIVATE KEY-----\nabc", "x|***"},
		"a script":         {"sh|-c|export A=1 TOKEN=abc; run --secret s3 -v", "sh|-c|export A=1 TOKEN=*** run --secret *** -v"},
		"nothing assigned": {"app|--password=", "app|--password="},
		"empty":            {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := []byte(strings.ReplaceAll(tt.in, "|", "\x00"))
			if got := strings.ReplaceAll(string(MaskSecrets(in)), "\x00", "|"); got != tt.want {
				t.Errorf("MaskSecrets(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
