// SPDX-License-Identifier: Apache-2.0

package collectors

import "slices"

// missedRuns adds to a collector's rows what the kernel did not run their programs for. It is used on the
// collector's goroutine.
type missedRuns struct {
	read func(program string) uint64 // cumulative, of bpf.Kernel; nil: nobody counts
	last map[string]uint64           // by program
	rows map[string]uint64           // by row, since begin
}

// begin counts from now on. It is called before the collector starts: a program that another collector
// shares may be loaded by then.
func (m *missedRuns) begin(rows []Probe) {
	m.last, m.rows = map[string]uint64{}, map[string]uint64{}
	if m.read == nil {
		return
	}
	for _, p := range rows {
		for _, name := range programsOf(p.Name) {
			m.last[name] = m.read(name)
		}
	}
}

// add takes a reading. What several rows of a collector share is in the first of them that runs, as it
// would be there several times in the sum over all rows. A program that was loaded anew counts from 0.
func (m *missedRuns) add(rows []Probe) {
	if m.read == nil {
		return
	}
	var seen []string
	for i := range rows {
		p := &rows[i]
		if p.State == Off || p.State == Failed || p.State == Idle {
			continue
		}
		for _, name := range programsOf(p.Name) {
			if slices.Contains(seen, name) {
				continue
			}
			seen = append(seen, name)
			n := m.read(name)
			m.rows[p.Name] += grown(m.last[name], n)
			m.last[name] = n
		}
		p.Missed = m.rows[p.Name]
		p.Lost += p.Missed
	}
}

// programsOf are the BPF programs that a row tells of. What is missed of others their facades tell: the end
// of a block request, drops, and what has a beginning and an end and is found out when one of them lacks.
func programsOf(probe string) []string {
	switch probe {
	case "runqlat", "cpudist":
		return []string{"sched_switched", "sched_switched_state2", "sched_moved", "wake_switched", "wake_switched_state2", "wake_woken", "wake_forked", "trace_switched", "trace_woken", "trace_forked"}
	case "runqlat-cause":
		return []string{"wake_switched", "wake_switched_state2", "wake_woken", "wake_forked", "trace_switched", "trace_woken", "trace_forked"}
	case "runqlen":
		return []string{"queue_sampled", "queue_sampled_read"}
	case "offcputime", "runqlat-pid":
		return []string{"off_switched", "off_switched_state2", "off_woken", "off_forked"}
	case "biolatency":
		return []string{"block_issued", "block_requeued"}
	case "biotop":
		return []string{"block_started", "block_asked", "block_merged"}
	case "execsnoop":
		return []string{"exec_begun"}
	case "forksnoop":
		return []string{"exec_forked"}
	case "exitsnoop":
		return []string{"exec_ended", "exec_reaped"}
	case killsnoop:
		return []string{"signal_sent"}
	case "filelife":
		return []string{"unlink_begins", "unlink_ends3", "unlink_ends4", "file_named", "file_named_new", "file_named_persistent", "ext4_made", "ext4_deleted"}
	case dnsProbe:
		return []string{"dns_sent", "dns_received"}
	case "oomkill":
		return []string{"oom_killed", "oom_killed_pid", "oom_killed_atomic"}
	case "drsnoop":
		return []string{"throttled", "kswapd_woken"}
	case "slabratetop":
		return []string{"kmem_allocated", "kmem_allocated_at", "kmem_node_allocated_at", "kmem_freed", "kmem_freed_somewhere"}
	case "profile":
		return []string{"profile_sampled"}
	case "cachestat":
		return []string{"pages_read", "pages_mapped", "page_faulted", "folio_accessed", "page_accessed", "pages_added", "folio_dirtied", "page_dirtied"}
	case "softirqs":
		return []string{"softirq_entered", "softirq_left"}
	case "hardirqs":
		return []string{"irq_entered", "irq_left", "timer_entered", "timer_left", "reschedule_entered", "reschedule_left", "calls_entered", "calls_left", "call_entered", "call_left", "work_entered", "work_left"}
	}
	if programs := flowProgramsOf(probe); programs != nil {
		return programs
	}
	return callProgramsOf(probe)
}

// flowProgramsOf are those of connections: most rows share one.
func flowProgramsOf(probe string) []string {
	switch probe {
	case "tcpretrans":
		return []string{"retransmitted", "synack_retransmitted"}
	case "tcpconnect", "tcpaccept", "tcpconnlat", "tcplife", "tcpstates":
		return []string{"state_changed"}
	case "tcprtt":
		return []string{"received"}
	case "tcpreset":
		return []string{"reset_sent", "reset_sent_plain", "reset_received"}
	}
	return nil
}

// callProgramsOf are those of system calls, which the rows share, and of slow calls of files, which have
// their own where the kernel lets them.
func callProgramsOf(probe string) []string {
	calls := []string{"syscall_left", "syscall_entered"}
	switch probe {
	case "syscount", "syscount-time", "opensnoop", "execfail":
		return calls
	case "fileslower":
		for _, op := range []string{"read", "write", "sync", "open", "list", "fs_read", "fs_write", "fs_sync"} {
			calls = append(calls, op+"_begins", op+"_ends")
		}
		return calls
	}
	return nil
}
