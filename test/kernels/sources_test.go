// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseList(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"plain":             {"deb http://mirror.example/debian bookworm main", []string{"http://mirror.example/debian"}},
		"slash at the end":  {"deb http://mirror.example/debian/ stable main contrib\n", []string{"http://mirror.example/debian"}},
		"options":           {"deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian trixie main", []string{"https://m.example/debian"}},
		"options apart":     {"deb [ arch=amd64 ] https://m.example/debian trixie main", []string{"https://m.example/debian"}},
		"options unclosed":  {"deb [arch=amd64 https://m.example/debian trixie main", nil},
		"security":          {"deb http://s.example/debian-security bullseye/updates main", []string{"http://s.example/debian-security"}},
		"source packages":   {"deb-src http://mirror.example/debian bookworm main", nil},
		"comment":           {"# deb http://mirror.example/debian bookworm main", nil},
		"comment at end":    {"deb http://m.example/debian sid main # local", []string{"http://m.example/debian"}},
		"another's suite":   {"deb https://packages.example/apt cloud-sdk-bookworm main", nil},
		"another's archive": {"deb https://download.example/linux/debian bookworm stable", nil},
		"not over http":     {"deb cdrom:[Debian]/ bookworm main\ndeb file:/srv/debian bookworm main", nil},
		"flat":              {"deb http://m.example/flat ./", nil},
		"two":               {"deb http://a.example/d bookworm main\n\ndeb http://b.example/d bookworm-security main\n", []string{"http://a.example/d", "http://b.example/d"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, parseList(tt.text)); d != "" {
				t.Errorf("parseList(%q) (-want +got):\n%s", tt.text, d)
			}
		})
	}
}

func TestParseSources(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"two paragraphs": {
			"Types: deb\n# a comment inside\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n" +
				"\nTypes: deb deb-src\nURIs: http://m.example/debian-security/\nSuites: bookworm-security\nComponents: main contrib\n",
			[]string{"http://m.example/debian", "http://m.example/debian-security"},
		},
		"folded": {
			"types: deb\nuris:\n http://a.example/debian\n# in between\n http://b.example/debian\nsuites: trixie\ncomponents: main\n",
			[]string{"http://a.example/debian", "http://b.example/debian"},
		},
		"disabled":        {"Enabled: no\nTypes: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n", nil},
		"sources only":    {"Types: deb-src\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n", nil},
		"another's suite": {"Types: deb\nURIs: https://deb.example/node_20.x\nSuites: nodistro\nComponents: main\n", nil},
		"key inside": {
			"Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n Types: none\n",
			[]string{"http://m.example/debian"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, parseSources(tt.text)); d != "" {
				t.Errorf("parseSources(%q) (-want +got):\n%s", tt.text, d)
			}
		})
	}
}

func TestMirrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := mirrors(dir); err == nil {
		t.Error("mirrors of an empty folder gave no error")
	}
	files := map[string]string{
		"sources.list":               "deb http://a.example/debian bookworm main\n",
		"sources.list.d/b.sources":   "Types: deb\nURIs: http://b.example/debian http://a.example/debian\nSuites: sid\nComponents: main\n",
		"sources.list.d/c.list.save": "deb http://c.example/debian bookworm main\n",
	}
	if err := os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := mirrors(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"http://a.example/debian", "http://b.example/debian"}, got); d != "" {
		t.Errorf("mirrors (-want +got):\n%s", d)
	}
}
