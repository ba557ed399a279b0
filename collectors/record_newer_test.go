// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestReplayNewerMinor: a newer minor version may add collectors and fields. They are skipped, and what this
// version knows is read as if they were not there.
func TestReplayNewerMinor(t *testing.T) {
	file, want, _ := recorded(t, 25)
	old, err := OpenReplay(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	header, err := json.Marshal(struct {
		RecordHeader
		Minor  int            `json:"minor"`
		Future map[string]any `json:"future"`
	}{old.Header(), recordMinor + 1, map[string]any{"cpus": []int{1}}})
	if err != nil {
		t.Fatal(err)
	}
	newer := z.EncodeAll(header, nil)
	added := 0
	// Before what is there, so that a reader that stops at the unknown reads nothing; in each collector too.
	add := func(b []byte) []byte {
		const collector = `"quantum":{"from_ns":1,"rows":{"#":2,"who":["a","b"],"spin_ns":[[1,-2],{"hex":"ff"}]},"old":null},`
		const field = `"future_ns":7,"future_text":"}\"{","future_list":[[],{"a":[1]}],`
		out := append([]byte("{"), collector...)
		depth, text := 0, false
		for i, c := range b {
			if i > 0 {
				out = append(out, c)
			}
			switch {
			case text && c == '"' && !escaped(b, i), !text && c == '"':
				text = !text
			case text:
			case c == '{':
				if depth++; depth == 2 && b[i+1] != '}' && b[i+1] != '"' {
					t.Fatalf("an object goes on with %q", b[i+1])
				} else if depth == 2 && b[i+1] == '"' && !bytes.HasSuffix(b[:i], []byte(`"probes":`)) { // that is a map
					out = append(out, field...)
					added++
				}
			case c == '}':
				depth--
			}
		}
		return out
	}
	for _, block := range old.blocks {
		lines, err := old.unpack(block)
		if err != nil {
			t.Fatal(err)
		}
		var more []byte
		for line := range bytes.Lines(lines) {
			more = append(more, add(line)...)
		}
		frame := z.EncodeAll(more, nil)
		block.Size = len(frame)
		index, err := json.Marshal(struct {
			blockIndex
			Future string `json:"future"`
		}{block.blockIndex, "x"})
		if err != nil {
			t.Fatal(err)
		}
		newer = append(append(newer, appendSkippable(nil, index)...), frame...)
	}
	got, r, err := replayed(t, newer)
	if err != nil || r.Cut() != nil {
		t.Fatalf("opening: %v, cut: %v", err, r.Cut())
	}
	if h := r.Header(); h.Minor != recordMinor+1 || h.Host != old.Header().Host {
		t.Errorf("the header is %+v", h)
	}
	if added < len(want) {
		t.Errorf("fields were added in %d places only", added)
	}
	if diff := same(want, got); diff != "" {
		t.Errorf("(-want +got):\n%.2000s", diff)
	}
}

// escaped says whether the byte at i has a backslash before it that is none itself.
func escaped(b []byte, i int) bool {
	n := 0
	for i--; i >= 0 && b[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}
