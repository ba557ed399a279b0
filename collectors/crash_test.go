// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCrash(t *testing.T) {
	day := time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)
	oops := "Oops#1 Part1\n<4>[   12.3] Oops: general protection fault\n"
	for name, tt := range map[string]struct {
		files map[string]string // each a day newer than the one before it by name
		says  string
		at    time.Time
	}{
		"a panic":       {map[string]string{"dmesg-efi-1": "Panic#1 Part1\n<0>[   34.5] Kernel panic - not syncing: Fatal exception\n<0>[ 34.6] Kernel Offset: disabled\n"}, "Kernel panic - not syncing: Fatal exception", day},
		"the newest":    {map[string]string{"dmesg-ramoops-0": "Panic#1 Part1\n", "dmesg-ramoops-1": oops}, "Oops: general protection fault", day.AddDate(0, 0, 1)},
		"only its head": {map[string]string{"dmesg-efi-1": "Panic#2 Part3\nnothing to tell\n"}, "Panic#2 Part3", day},
		"no log":        {map[string]string{"console-ramoops-0": oops}, "", time.Time{}},
		"none":          {nil, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				path := filepath.Join(dir, file)
				at := day.AddDate(0, 0, int(file[len(file)-1]-'0'))
				if len(tt.files) == 1 {
					at = day
				}
				if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, at, at); err != nil {
					t.Fatal(err)
				}
			}
			says, at := readCrash(dir)
			if says.Bytes() != tt.says || !at.Equal(tt.at) {
				t.Errorf("readCrash = %q at %v, want %q at %v", says.Bytes(), at, tt.says, tt.at)
			}
		})
	}
	if says, _ := readCrash(filepath.Join(t.TempDir(), "missing")); says.Bytes() != "" {
		t.Errorf("readCrash without a store = %q", says.Bytes())
	}
}
