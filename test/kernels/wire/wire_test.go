// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	want := Record{Result: &Result{Name: "report", Code: -1, Signal: "killed", Stdout: []byte("a\nb\x1b[0m\xff"), Left: []string{"link 3"}}}
	var b bytes.Buffer
	if err := Encode(&b, want); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("Encode wrote %d lines, want 1", n)
	}
	for name, line := range map[string]string{
		"clean":           b.String(),
		"after garbage":   "\x00\xff~" + b.String(),
		"carriage return": strings.TrimSuffix(b.String(), "\n") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, ok, err := Decode(line)
			if err != nil || !ok {
				t.Fatalf("Decode(%q) = %v, %v, want a record", line, ok, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Decode (-want +got):\n%s", d)
			}
		})
	}
}

func TestDecodeDamaged(t *testing.T) {
	var b bytes.Buffer
	if err := Encode(&b, Record{Begin: "report"}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		line    string
		wantErr bool
	}{
		"a byte changed": {strings.Replace(b.String(), "report", "repart", 1), true},
		"cut off":        {b.String()[:b.Len()-4], true},
		"no checksum":    {"bpf60:", true},
		"no record":      {"[    0.000000] Linux version 5.10", false},
		"empty":          {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, ok, err := Decode(tt.line)
			if ok || (err != nil) != tt.wantErr {
				t.Errorf("Decode(%q) = %v, %v, want no record, error %v", tt.line, ok, err, tt.wantErr)
			}
		})
	}
}
