// SPDX-License-Identifier: Apache-2.0

package collectors

// Process identifies a process for as long as the host is up. A PID alone is reused, and a start
// time in clock ticks is shared by processes that follow each other within 10 ms.
type Process struct {
	TGID  int32
	Start uint64 // task_struct.start_boottime, ns since boot; in clock ticks × 10 ms where only /proc is read
}

// Same says that two are one process, also where one Start is in whole clock ticks and the other is not.
func (p Process) Same(q Process) bool { return p.TGID == q.TGID && p.Start/tickNs == q.Start/tickNs }
