// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

type subject struct {
	name string
	open func(*Kernel) (*object, error)
}

func subjectOf[F any](name string, open func(*Kernel) (F, error), obj func(F) *object) subject {
	return subject{name, func(k *Kernel) (*object, error) {
		f, err := open(k)
		if err != nil {
			return nil, err
		}
		return obj(f), nil
	}}
}

// fromStart are the subjects that are attached from the start on, as the collectors open them.
func fromStart() []subject {
	return []subject{
		subjectOf("sched", func(k *Kernel) (*Sched, error) { return OpenSched(k, SchedParts{Switch: true, Queue: true}) },
			func(s *Sched) *object { return s.obj }),
		subjectOf("tasks", OpenTasks, func(t *Tasks) *object { return t.obj }),
		subjectOf("stalls", func(k *Kernel) (*Stalls, error) { return OpenStalls(k, false) }, func(s *Stalls) *object { return s.obj }),
		subjectOf("block", OpenBlock, func(b *Block) *object { return b.obj }),
		subjectOf("dns", OpenDNS, func(d *DNS) *object { return d.obj }),
		subjectOf("drop", OpenDrop, func(d *Drop) *object { return d.obj }),
		subjectOf("reclaim", func(k *Kernel) (*Reclaim, error) { return OpenReclaim(k, nil) }, func(r *Reclaim) *object { return r.obj }),
		subjectOf("flow", func(k *Kernel) (*Flow, error) {
			return OpenFlow(k, FlowParts{State: true, Retransmit: true, Reset: true, Read: true})
		}, func(f *Flow) *object { return f.obj }),
		subjectOf("exec", func(k *Kernel) (*Exec, error) { return OpenExec(k, ExecParts{Exec: true, Fork: true, Exit: true}) },
			func(e *Exec) *object { return e.obj }),
		subjectOf("signal", OpenSignal, func(s *Signal) *object { return s.obj }),
	}
}

// BenchmarkOpen is what each subject that is attached from the start on takes until it is, and to be
// detached again.
func BenchmarkOpen(b *testing.B) {
	for _, s := range fromStart() {
		b.Run(s.name, func(b *testing.B) {
			k := need(b)
			for b.Loop() {
				obj, err := s.open(k)
				if err != nil {
					b.Fatal(err)
				}
				if err := obj.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoad is what each of their programs takes to be loaded, nearly all of it the verifier's.
func BenchmarkLoad(b *testing.B) {
	for _, s := range fromStart() {
		k := need(b)
		obj, err := s.open(k)
		if err != nil {
			b.Fatal(err)
		}
		closing(b, obj)
		for _, name := range slices.Sorted(maps.Values(k.progs)) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				var insns uint32
				for b.Loop() {
					p, err := obj.load(name)
					if err != nil {
						b.Fatal(err)
					}
					insns = verified(b, p)
					obj.progs = obj.progs[:len(obj.progs)-1]
					k.unloaded(p)
					if err := p.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(insns), "insns")
			})
		}
	}
}

// verified is how many instructions the verifier went through, 0 where the kernel does not say (5.16).
func verified(t testing.TB, p *ebpf.Program) uint32 {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := info.VerifiedInstructions()
	return n
}
