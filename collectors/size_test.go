// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"reflect"
	"testing"
	"unsafe"
)

// TestSizeKnowsEverySample fails when a sample or a slice in one is added and Size forgets it.
func TestSizeKnowsEverySample(t *testing.T) {
	empty := (&Snapshot{}).Size()
	snap := reflect.TypeFor[Snapshot]()
	for i := range snap.NumField() {
		field := snap.Field(i)
		if field.Type.Kind() != reflect.Pointer {
			continue
		}
		s := &Snapshot{}
		sample := reflect.New(field.Type.Elem())
		reflect.ValueOf(s).Elem().Field(i).Set(sample)
		bare := s.Size()
		if bare-empty < int(field.Type.Elem().Size()) {
			t.Errorf("%s adds %d bytes, want at least %d", field.Name, bare-empty, field.Type.Elem().Size())
		}
		for j := range sample.Elem().NumField() {
			f := sample.Elem().Field(j)
			if f.Kind() != reflect.Slice {
				continue
			}
			f.Set(reflect.MakeSlice(f.Type(), 0, 100))
			if got, want := s.Size()-bare, 100*int(f.Type().Elem().Size()); got < want {
				t.Errorf("100 of %s.%s add %d bytes, want at least %d", field.Name, sample.Elem().Type().Field(j).Name, got, want)
			}
			f.SetZero()
		}
	}
	rows := &Snapshot{Probes: map[ID][]Probe{CPUID: {{Reason: "0123456789"}}}}
	if got, want := rows.Size()-empty, int(unsafe.Sizeof(Probe{}))+10; got < want {
		t.Errorf("a probe row adds %d bytes, want at least %d", got, want)
	}
	p := &ProcInfo{Comm: RawString("0123456789")}
	if got, want := p.Size(), int(unsafe.Sizeof(*p))+10; got < want {
		t.Errorf("ProcInfo.Size() = %d, want at least %d", got, want)
	}
}

func TestWithout(t *testing.T) {
	full := func() *Snapshot {
		return &Snapshot{
			Seq:   3,
			Host:  &Host{},
			CPU:   &CPU{Switches: 1, CPUs: make([]CPUTime, 2)},
			Sched: &Sched{Host: SchedCounts{Switches: 2}, CPUs: make([]SchedCPU, 2)},
			Tasks: &Tasks{Processes: 9, Rows: make([]TaskRow, 3)},
			Disk:  &Disk{Table: &DiskTable{}, Rows: make([]DiskRow, 3)},

			Sockets: &Sockets{Total: 8, UnlistedRows: 4, Rows: make([]SocketRow, 3), Listeners: make([]ListenRow, 1), Peers: make([]PeerRow, 2)},
		}
	}
	s := full()
	thin := s.WithoutRows()
	if !thin.Thin() || s.Thin() || s.WithoutCPUs().Thin() {
		t.Errorf("thin: %v, %v before and %v without CPUs alone; want only what has lost its rows", thin.Thin(), s.Thin(), s.WithoutCPUs().Thin())
	}
	if thin.Tasks.Rows != nil || thin.Tasks.Processes != 9 || thin.Seq != 3 || thin.Sched != s.Sched || thin.CPU != s.CPU || thin.Host != s.Host {
		t.Errorf("WithoutRows() = %+v, want all but the rows, shared", thin)
	}
	if thin.Disk.Rows != nil || thin.Disk.Table != s.Disk.Table {
		t.Errorf("WithoutRows() = %+v, want all but the rows of disks", thin.Disk)
	}
	if k := thin.Sockets; k.Rows != nil || k.Listeners != nil || k.Peers != nil || k.Total != 8 || k.UnlistedRows != 7 || k.UnlistedListeners != 1 || k.UnlistedPeers != 2 {
		t.Errorf("WithoutRows() = %+v, want all sockets counted and none listed", k)
	}
	thin = s.WithoutCPUs()
	if thin.CPU.CPUs != nil || thin.Sched.CPUs != nil || thin.CPU.Switches != 1 || thin.Sched.Host.Switches != 2 || thin.Tasks != s.Tasks {
		t.Errorf("WithoutCPUs() = %+v, want all but the CPUs, shared", thin)
	}
	if !reflect.DeepEqual(s, full()) {
		t.Errorf("thinning wrote to the snapshot: %+v", s)
	}
	for name, bare := range map[string]*Snapshot{
		"nothing": {},
		"thinned": s.WithoutRows().WithoutCPUs(),
	} {
		if bare.WithoutRows() != bare || bare.WithoutCPUs() != bare {
			t.Errorf("%s: thinning made a copy of what holds no detail", name)
		}
	}
}
