// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsolatedCPUs(t *testing.T) {
	tests := map[string]struct {
		isolated, nohz string
		want           []int
	}{
		"none":               {isolated: "\n", nohz: "(null)\n"},
		"both":               {isolated: "2-3\n", nohz: "1-2,5\n", want: []int{1, 2, 3, 5}},
		"without ticks only": {isolated: "\n", nohz: "3\n", want: []int{3}},
		"garbled":            {isolated: "3-1\n", nohz: "x\n"},
		"not there":          {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fs := NewFS(filepath.Join(t.TempDir(), "proc"))
			dir := fs.sysPath("devices/system/cpu")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"isolated": tt.isolated, "nohz_full": tt.nohz} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, isolatedCPUs(fs)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
