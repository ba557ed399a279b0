// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
)

// softnetReader reads /proc/net/softnet_stat, which is the same in every namespace.
type softnetReader struct {
	file      *procFile
	prev, cur []SoftnetCPU
	begun     bool
	err       error
}

func newSoftnetReader(fs FS) *softnetReader { return &softnetReader{file: fs.file("net/softnet_stat")} }

func (r *softnetReader) reset() { r.begun, r.err = false, nil }

func (r *softnetReader) collect(ctx context.Context) ([]SoftnetCPU, bool) {
	b, err := r.file.read(ctx)
	if err == nil {
		r.cur, err = parseSoftnet(b, r.cur[:0])
	}
	if r.err = err; err != nil {
		r.begun = false // a gap: the next reading is a baseline
		return nil, false
	}
	if !r.begun {
		r.prev, r.begun = append(r.prev[:0], r.cur...), true
	}
	out := deriveSoftnet(r.prev, r.cur)
	r.prev, r.cur = r.cur, r.prev
	return out, true
}

// deriveSoftnet subtracts two readings, CPU by CPU. The counters wrap at 32 bits; they do not begin
// anew when a CPU does.
func deriveSoftnet(prev, cur []SoftnetCPU) []SoftnetCPU {
	out := make([]SoftnetCPU, len(cur))
	for i, c := range cur {
		for len(prev) > 0 && prev[0].CPU < c.CPU {
			prev = prev[1:]
		}
		out[i] = SoftnetCPU{CPU: c.CPU, Backlog: c.Backlog, New: true}
		if len(prev) > 0 && prev[0].CPU == c.CPU {
			p := prev[0]
			out[i] = SoftnetCPU{
				CPU: c.CPU, Backlog: c.Backlog, Processed: since32(p.Processed, c.Processed), Dropped: since32(p.Dropped, c.Dropped),
				Squeezed: since32(p.Squeezed, c.Squeezed), RPS: since32(p.RPS, c.RPS), FlowLimit: since32(p.FlowLimit, c.FlowLimit),
			}
		}
	}
	return out
}

// sumSoftnet sums the CPUs' lines.
func sumSoftnet(cpus []SoftnetCPU) SoftnetCPU {
	sum := SoftnetCPU{CPU: -1}
	for _, c := range cpus {
		sum.Processed += c.Processed
		sum.Dropped += c.Dropped
		sum.Squeezed += c.Squeezed
		sum.RPS += c.RPS
		sum.FlowLimit += c.FlowLimit
		sum.Backlog += c.Backlog
	}
	return sum
}

func (r *softnetReader) close() error { return r.file.close() }
