// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// Nanoseconds of run time an event costs, as measured in a 6.18 guest with an empty program's 60
// ns; make bench measures them anew.
const (
	CostState      = 540 // a change of state, mean over the life of a connection
	CostRetransmit = 900 // a segment sent again, with its record
	CostReset      = 700 // a reset, with its record
	CostRead       = 85  // a read, while no accepted connection waits for its owner
)

// FlowParts says what of TCP to measure.
type FlowParts struct {
	State      bool // connects, accepts, failures, lives, changes of state
	Retransmit bool
	Reset      bool
	Read       bool // round trips, and who accepted
}

// FlowErrs says why parts are missing; nil where they are not, and where they were not asked for.
type FlowErrs struct {
	State, Retransmit, SynAck, ResetSent, ResetReceived, Read error

	Headers error // resets that no socket sent are counted without their addresses
	Seed    error // sockets older than we are have no owner
}

// trackedSockets is how many connections are known at a time where their memory is charged as it is
// used; SOCKETS of flow.bpf.c where all of it is charged in advance (RLIMIT_MEMLOCK, before 5.11).
const trackedSockets = 32768

// flowIdle is how long a process or a peer is kept that counts no more.
const flowIdle = time.Minute

// Flow is the facade of flow.bpf.c: TCP connections by their events.
type Flow struct {
	obj     *object
	errs    FlowErrs
	reasons map[int32]string
	seeder  *ebpf.Program
	inSteps bool // the kernel reads and deletes in two steps

	cpus      []flowFlowCpu
	processes map[flowProcess]*flowSeen
	peers     map[flowFlowPeer]*flowSeen
	gone      [2]FlowCounts // counted to processes and peers after they were last read
}

// flowSeen is when an entry was last seen to count.
type flowSeen struct {
	counts FlowCounts
	moved  time.Duration
	read   time.Duration
}

// OpenFlow attaches what was asked for, each program on its own: see Errs. It fails if none could
// be. The caller owns the result and closes it.
func OpenFlow(k *Kernel, parts FlowParts) (*Flow, error) {
	obj, err := newObject(k, loadFlow)
	if err != nil {
		return nil, err
	}
	f := &Flow{obj: obj, processes: map[flowProcess]*flowSeen{}, peers: map[flowFlowPeer]*flowSeen{}}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	f.attach(parts)
	if len(obj.links) == 0 {
		return nil, errors.Join(errors.Join(f.errs.State, f.errs.Retransmit, f.errs.Read, f.errs.ResetReceived), obj.Close())
	}
	// So that all can be read, whichever programs there are.
	for _, name := range []string{flowMapFlow, flowMapNarrowed, flowMapRest, flowMapProcesses, flowMapPeers} {
		if _, err := obj.createMap(name); err != nil {
			return nil, errors.Join(err, obj.Close())
		}
	}
	if parts.State && f.errs.State == nil {
		if f.seeder, f.errs.Seed = obj.load(flowProgSeed); f.errs.Seed == nil {
			f.errs.Seed = f.seed()
		}
	}
	return f, nil
}

// prepare fits the programs to this kernel before they are loaded.
func (f *Flow) prepare() error {
	k := f.obj.kernel
	if err := k.needBTF(); err != nil {
		return err
	}
	types, err := k.types().Kernel()
	if err != nil {
		return k.explain("reading kernel BTF", err)
	}
	for name, tracepoint := range map[string]string{"retransmit_args": "tcp_retransmit_skb", "reset_args": "tcp_send_reset"} {
		args, err := traceArgs(types, tracepoint)
		if err != nil {
			continue // the program that needs it will say so
		}
		if err := f.obj.set(name, uint32(min(len(args), 3))); err != nil {
			return err
		}
	}
	f.reasons = resetReasons(types)
	if hasHelper(types, "BPF_FUNC_get_current_task_btf") { // of the same release as memory that is charged as used
		return f.obj.resize(flowMapTracked, trackedSockets)
	}
	return nil
}

// hasHelper says whether the kernel's programs can call a function.
func hasHelper(types *btf.Spec, name string) bool {
	var ids *btf.Enum
	if types.TypeByName("bpf_func_id", &ids) != nil {
		return false
	}
	for _, v := range ids.Values {
		if v.Name == name {
			return true
		}
	}
	return false
}

// resetReasons are the kernel's own words for why it sent a reset; none before 6.10.
func resetReasons(types *btf.Spec) map[int32]string {
	out := map[int32]string{}
	var reasons *btf.Enum
	if types.TypeByName("sk_rst_reason", &reasons) != nil {
		return out
	}
	for _, v := range reasons.Values {
		if name, ok := strings.CutPrefix(v.Name, "SK_RST_REASON_"); ok && v.Value != 0 {
			out[int32(v.Value)] = strings.ToLower(strings.ReplaceAll(name, "_", " "))
		}
	}
	return out
}

func (f *Flow) attach(parts FlowParts) {
	for _, p := range []struct {
		on   bool
		name string
		err  *error
	}{
		{parts.State, flowProgStateChanged, &f.errs.State},
		{parts.Retransmit, flowProgRetransmitted, &f.errs.Retransmit},
		{parts.Retransmit, flowProgSynackRetransmitted, &f.errs.SynAck},
		{parts.Reset, flowProgResetReceived, &f.errs.ResetReceived},
		{parts.Read, flowProgReceived, &f.errs.Read},
	} {
		if p.on {
			*p.err = f.obj.attachTracing(p.name)
		}
	}
	if !parts.Reset {
		return
	}
	if f.errs.ResetSent = f.obj.attachTracing(flowProgResetSent); f.errs.ResetSent == nil {
		return
	}
	if err := f.obj.attachTracing(flowProgResetSentPlain); err == nil {
		f.errs.Headers, f.errs.ResetSent = f.errs.ResetSent, nil
	}
}

// seed notes who holds the sockets that are there.
func (f *Flow) seed() error {
	it, err := link.AttachIter(link.IterOptions{Program: f.seeder})
	if err != nil {
		return f.obj.kernel.explain("attaching "+flowProgSeed, err)
	}
	defer it.Close()
	r, err := openIter(it)
	if err != nil {
		return fmt.Errorf("opening the file iterator: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("reading the file iterator: %w", err)
	}
	return nil
}

// Errs says which parts are missing, and why.
func (f *Flow) Errs() FlowErrs { return f.errs }

// ResetReason is the kernel's word for why it sent a reset, empty if it gave none.
func (f *Flow) ResetReason(reason int32) string { return f.reasons[reason] }

// Narrow counts targets apart: processes, cgroups and peers. See Slots for where.
// Resets that no socket sent are no peer's.
func (f *Flow) Narrow(want []Filter) (Slots, error) { return f.obj.narrow(want) }

// Pause detaches the programs, or attaches them again. Connections that began or ended meanwhile are
// not counted; those that live are older than us afterwards.
func (f *Flow) Pause(on bool) error {
	err := f.obj.pause(on)
	if on {
		return errors.Join(err, f.forget())
	}
	if f.seeder != nil {
		f.errs.Seed = f.seed()
	}
	return err
}

// forget drops the records of all connections: what a socket's address stands for may have changed.
func (f *Flow) forget() error {
	tracked, err := f.obj.createMap(flowMapTracked)
	if err != nil {
		return err
	}
	var keys []uint64
	if err := readHash(tracked, func(k *uint64, _ *flowFlowSocket) { keys = append(keys, *k) }); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tracked.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting connections: %w", err)
		}
	}
	waiting, err := f.obj.createMap(flowMapWaiting)
	if err != nil {
		return err
	}
	if err := waiting.Put(uint32(0), int64(0)); err != nil {
		return fmt.Errorf("forgetting connections: %w", err)
	}
	return nil
}

// Close detaches the programs and frees the maps.
func (f *Flow) Close() error { return f.obj.Close() }

// FlowEvent is a record of the kinds EventConnection, EventConnectFail, EventRetransmit and
// EventReset: struct flow_event.
type FlowEvent = flowFlowEvent

// DecodeFlow copies a record; false if it is none.
func DecodeFlow(record []byte) (FlowEvent, bool) {
	var e FlowEvent
	to := unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e))
	return e, copy(to, record) == len(to)
}
