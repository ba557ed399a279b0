// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// bomb is a recording of that many blocks, each with the lines that line gives.
func bomb(t *testing.T, blocks, lines int, line func(at int) string) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := NewRecorder(&out, RecordHeader{Interval: time.Second}); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	at := 0
	for range blocks {
		var text strings.Builder
		index := blockIndex{From: time.Duration(at + 1), N: lines}
		for range lines {
			at++
			text.WriteString(line(at) + "\n")
		}
		frame := z.EncodeAll([]byte(text.String()), nil)
		index.To, index.Size = time.Duration(at), len(frame)
		head, err := json.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(appendSkippable(nil, head), frame...))
	}
	return out.Bytes()
}

// TestReplayBombs: a file that unpacks to much more than it is costs no more than one that was recorded.
func TestReplayBombs(t *testing.T) {
	blank := strings.Repeat(" ", 1<<20)
	large := func(at int) string { return fmt.Sprintf(`{"at_ns":%d%s}`, at, blank) }
	small := func(at int) string { return fmt.Sprintf(`{"at_ns":%d}`, at) }
	for name, tt := range map[string]struct {
		blocks, lines int
		line          func(int) string
		most          int // snapshots that are read
	}{
		"many large blocks":  {40, 15, large, replayLeast >> 20},
		"many small samples": {3, 100_000, small, replaySnapshots},
		"many blocks":        {replaySnapshots + 100, 1, small, replaySnapshots},
	} {
		t.Run(name, func(t *testing.T) {
			file := bomb(t, tt.blocks, tt.lines, tt.line)
			if len(file)*replayRatio > replayLeast && name == "many large blocks" {
				t.Fatalf("the file has %d bytes", len(file))
			}
			r, err := OpenReplay(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := 0
			if err := r.Run(t.Context(), func(*Snapshot) { n++ }); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if n == 0 || n > tt.most {
				t.Errorf("%d snapshots were read, want at most %d", n, tt.most)
			}
			if r.Cut() == nil || !strings.Contains(r.Cut().Error(), "more than is read of one recording") {
				t.Errorf("Cut = %v", r.Cut())
			}
			if sum := after.TotalAlloc - before.TotalAlloc; sum > 1<<30 {
				t.Errorf("reading made %d MiB of memory", sum>>20)
			}
		})
	}
}
