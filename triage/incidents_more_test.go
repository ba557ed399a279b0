// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"bpf60/collectors"
)

// said is what the kernel's log has said so many seconds after the run began.
func said(at int, trouble collectors.Trouble, text string) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Log = &collectors.Log{Span: span, Tail: &collectors.LogTail{}}
		if i >= at {
			s.Log.Tail.Records = []*collectors.LogRecord{{Since: time.Hour + time.Duration(at)*time.Second, Trouble: trouble, Text: collectors.RawString(text)}}
		}
	}
}

// held is a pod at a memory limit: the part of its time that all its tasks stand still.
func held(path string, full float64, high, atMax uint64) fill {
	info := &collectors.CgroupInfo{ID: 7, Path: collectors.RawString(path), Depth: 2}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		stall := collectors.CgroupStall{Some: time.Duration(full * 1.2e7), Full: time.Duration(full * 1e7)}
		s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{
			CgroupInfo: info, Span: span, Has: collectors.HasPSI | collectors.HasHigh | collectors.HasMemory, Memory: 2 * gib,
			Events: collectors.CgroupEvents{High: high, Max: atMax}, PSI: &collectors.CgroupPSI{Memory: stall},
		}}}
	}
}

// inD are threads that stand in one function of the kernel, the first since so many seconds.
func inD(class, function, device string, since int, comms ...string) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Stalls = &collectors.Stalls{Span: span, Tasks: len(comms)}
		for k, comm := range comms {
			s.Stalls.Rows = append(s.Stalls.Rows, collectors.Stall{
				Stack: &collectors.Stack{Class: class, Function: function}, TID: int32(30 + k), Task: collectors.Process{TGID: int32(30 + k), Start: uint64(30 + k)},
				Comm: collectors.RawString(comm), Device: collectors.StallDevice{Name: collectors.RawString(device)}, Seen: time.Duration(since+i) * time.Second,
			})
		}
	}
}

// Further incidents, each with what else it brings along.
func TestMoreIncidents(t *testing.T) {
	half := ticksOf(1, collectors.Ticks{User: 20, Idle: 80}, collectors.Ticks{User: 20, Idle: 80})
	base := hostWith(collectors.PSI{CPU: some(5), Memory: some(0), IO: some(0)})
	waiting := hostWith(collectors.PSI{CPU: some(5), Memory: collectors.Pressure{Known: true}, IO: some(30)})
	java := proc{pid: 5, parent: 1, comm: "java", cgroup: "/pod-api", run: ms(100), rss: func(i int) uint32 { return uint32(1<<18 + 400*i) }, more: &collectors.TaskMore{Read: 4 << 20, MajFlt: 900}}
	people := tasks(java, proc{pid: 20, parent: 1, comm: "fio", run: 1}, proc{pid: 30, parent: 1, comm: "db", run: ms(20)})
	waiters := []collectors.BlockOwner{owner(5, "java", 900, 4<<20, ms(900)), owner(30, "db", 10, 1e5, ms(300))}
	slow := ioOf{class: collectors.ReadSync, n: 50, device: ms(70), mostly: ms(1)}
	refaults := memory(nil, map[collectors.VMEvent]uint64{collectors.VMRefaultFile: 900})
	swap := swaps(3000, 3000, 8<<20)
	by := func(list ...collectors.BlockOwner) []collectors.BlockOwner { return list }
	flusher := func(comm string, pid int32, n uint64, each time.Duration) collectors.BlockOwner {
		return collectors.BlockOwner{Process: collectors.Process{TGID: pid, Start: uint64(pid)}, Comm: collectors.RawString(comm), Flushes: n, FlushTime: time.Duration(n) * each}
	}
	nodes := func(i int, s *collectors.Snapshot, span collectors.Span) {
		memory(nil, nil)(i, s, span)
		s.Memory.Rare = &collectors.MemoryRare{Nodes: []collectors.NUMANode{{Node: 0, Total: 100 * gib, Free: gib}, {Node: 1, Total: 100 * gib, File: 60 * gib}}}
		s.Memory.VM.Set(collectors.VMNUMAMiss, 5000)
		s.Reclaim = &collectors.Reclaim{Span: span, OOM: true}
		if i >= 12 {
			s.Reclaim.Kills = &collectors.OOMKills{List: []collectors.OOMKill{{At: 12 * time.Second, Victim: collectors.Process{TGID: 771}, Comm: collectors.RawString("worker"), For: collectors.OOMHost}}}
		}
	}
	compacts := func(i int, s *collectors.Snapshot, span collectors.Span) {
		now := &collectors.ReclaimCounts{}
		rows := []collectors.MemoryWaiter{{Process: collectors.Process{TGID: 30, Start: 30}, Comm: collectors.RawString("db")}, {Process: collectors.Process{TGID: 5, Start: 5}, Comm: collectors.RawString("java")}}
		for k, n := range []int{2, 40} {
			for range n {
				now.Compact.Add(uint64(ms(10)))
				rows[k].Count[collectors.CompactStall]++
				rows[k].For[collectors.CompactStall] += ms(10)
			}
		}
		s.Reclaim = &collectors.Reclaim{Span: span, Now: now, Compacts: true, Reclaims: true, Rows: rows}
	}
	zram := func(i int, s *collectors.Snapshot, span collectors.Span) {
		ticksOf(3, collectors.Ticks{System: 70, User: 20, Idle: 10}, collectors.Ticks{System: 70, User: 20, Idle: 10})(i, s, span)
		s.CPU.SwapIn, s.CPU.SwapOut = 9000, 9000
		memory(map[collectors.MemField]uint64{collectors.MemSwapTotal: gib, collectors.MemSwapFree: gib / 8}, nil)(i, s, span)
		s.Memory.Swaps = []collectors.SwapArea{{Name: collectors.RawString("/dev/zram0"), Size: gib}}
	}
	// Four equal disks; one request of one of them takes 4 s.
	disks := func(i int, s *collectors.Snapshot, span collectors.Span) {
		table := &collectors.DiskTable{}
		s.Block = &collectors.Block{Span: span}
		for k := range 4 {
			dev := collectors.MakeDev(8, uint32(16*k))
			table.Devices = append(table.Devices, &collectors.BlockDevice{Dev: dev, Name: collectors.RawString(fmt.Sprintf("sd%c", 'a'+k)), Kind: collectors.WholeDisk})
			row := collectors.BlockRow{Dev: dev, Class: collectors.ReadSync}
			var h collectors.Hist
			for range 50 {
				h.Add(uint64(100 * time.Microsecond))
			}
			row.Completed, row.Device, row.DeviceTotal = 50, h.Hist32(), h
			s.Block.Rows = append(s.Block.Rows, row)
		}
		s.Disk = &collectors.Disk{Span: span, Table: table}
		if i == 15 {
			x := collectors.BlockIO{At: span.To - ms(500), Total: 4 * time.Second, Device: 4 * time.Second, Sync: true, Dev: table.Devices[2].Dev, Comm: collectors.RawString("db"), Process: collectors.Process{TGID: 30, Start: 30}}
			s.Block.Stalls = &collectors.BlockStalls{Count: 1, List: []collectors.BlockIO{x}}
		}
	}
	// logrotate's gzip lives for eight seconds and reads and writes the whole log.
	rotates := func(i int, s *collectors.Snapshot, span collectors.Span) {
		owners := by(owner(30, "db", 40, 1e5, ms(400)))
		if i > 10 && i <= 18 {
			gzip := owner(51, "gzip", 900, 90<<20, ms(800))
			gzip.WriteBytes = 20 << 20
			owners = append(owners, gzip)
			disk(vda(), owners, slow)(i, s, span)
			return
		}
		disk(vda(), owners, ioOf{class: collectors.ReadSync, n: 20, device: ms(1), mostly: ms(1)})(i, s, span)
	}
	full := mounted(collectors.Mount{}, 100*gib, func(int) uint64 { return gib }, 0, 0)
	deleted := func(i int, s *collectors.Snapshot, span collectors.Span) {
		full(i, s, span)
		if i == 5 {
			row := collectors.DeletedFile{Process: collectors.Process{TGID: 5, Start: 5}, Comm: collectors.RawString("java"), Path: collectors.RawString("/data/gc.log"), Bytes: 60 * gib}
			s.Deleted = &collectors.Deleted{Span: span, Narrowed: []collectors.Targeted[collectors.DeletedFiles]{{
				Target: collectors.Target{Kind: collectors.DiskTarget, Dev: 7}, Sample: collectors.DeletedFiles{Rows: []collectors.DeletedFile{row}, Files: 1, Bytes: 60 * gib},
			}}}
		}
	}
	network := func(entries, drop, missed uint64) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			n := collectors.NetIface{NetLink: &collectors.NetLink{Name: collectors.RawString("eth0"), Kind: collectors.LinkDevice}, Missed: missed}
			n.RxPackets, n.RxDropped = 90000, missed
			space := collectors.NetSpace{Span: span, NetPlace: &collectors.NetPlace{Own: true}, StackKnown: true, Conntrack: collectors.Conntrack{Known: true, Entries: entries, Drop: drop}}
			s.Network = &collectors.Network{Span: span, SoftnetKnown: true, ConntrackMax: 1000, Ifaces: []collectors.NetIface{n}, Spaces: []collectors.NetSpace{space}}
			s.Network.SoftnetAll.Processed = 90000
		}
	}
	// The backlog is full: those who are turned away send their SYN again, and the client's connects fail.
	turnedAway := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.TCP = &collectors.TCP{Span: span}
		s.TCP.Delta[collectors.TCPListenOverflows], s.TCP.Delta[collectors.TCPListenDrops] = 40, 40
		id := &collectors.SocketID{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 80, Start: 80}, Comm: collectors.RawString("nginx")}}
		s.Flow = &collectors.Flow{Span: span, Listen: collectors.FlowListens{Rows: []collectors.FlowListen{{SocketID: id, Queue: 129, Backlog: 128, Drops: 40}}}}
	}
	late := func(i int, s *collectors.Snapshot, span collectors.Span) {
		trip := 500 * time.Microsecond
		if i > 60 {
			trip = 80 * time.Millisecond
		}
		var h collectors.Hist
		for range 20 {
			h.Add(uint64(trip))
		}
		c := counts{collectors.FlowConnects: 5, collectors.FlowEstablished: 5}.of()
		s.Flow = &collectors.Flow{
			Span: span, Peers: []collectors.FlowPeer{{Addr: netip.MustParseAddrPort("10.0.3.7:443"), Role: collectors.FlowActive, Counts: c, RTT: h.Hist32()}},
			Processes: []collectors.FlowProcess{{Process: collectors.Process{TGID: 30, Start: 30}, Comm: collectors.RawString("db"), Counts: c}},
		}
		s.Flow.Host.Counts = c
	}
	rebuild := owner(50, "md0_resync", 900, 80<<20, ms(500))
	rebuild.Kernel = true
	stolen := collectors.Ticks{User: 60, Steal: 35, Idle: 5}
	for name, tt := range map[string]struct {
		h           *History
		id, culprit string
	}{
		"a pod at memory.high":              {ticking(20, waiting, half, memory(nil, nil), people, held("/pod-api", 31, 118, 0), disk(vda(), waiters, slow)), "mem.pressure", "/pod-api"},
		"thrash in a pod, the host is free": {ticking(20, hostWith(collectors.PSI{Memory: some(8), IO: some(30)}), swap, refaults, people, held("/pod-api", 44, 0, 300), disk(vda(), waiters, slow)), "mem.pressure", "/pod-api"},
		"a kill while one node is full":     {ticking(20, base, half, people, nodes), "mem.numa", "node 0"},
		"the journal holds all up": {
			ticking(20, waiting, half, people, inD(collectors.WaitJournal, "wait_transaction_locked", "vda", 3, "db", "app", "app", "app"),
				disk(vda(), by(flusher("db", 30, 300, ms(1))), ioOf{class: collectors.Flush, n: 300, device: ms(1), mostly: ms(1)})),
			"fs.journal", "db[30]",
		},
		"connection tracking is full": {
			ticking(20, base, half, people, network(1000, 500, 0), said(2, collectors.TroubleConntrack, "nf_conntrack: table full, dropping packet"),
				flows("curl", 8, "10.0.3.7:443", map[collectors.FlowCounter]uint64{collectors.FlowConnects: 300, collectors.FlowTimedOut: 200})),
			"net.conntrack_full", "curl[8]",
		},
		"huge pages are made while tasks wait": {ticking(20, hostWith(collectors.PSI{Memory: some(6)}), half, memory(nil, nil), people, compacts), "mem.compaction", "java[5]"},
		"an NFS server is dead": {
			ticking(40, base, ticksOf(0, idleCPU(), idleCPU()), people, inD(collectors.WaitNetworkFS, "rpc_wait_bit_killable", "10.0.3.9:/srv", 20, "df", "ls", "app"), said(30, collectors.TroubleNFS, "nfs: server 10.0.3.9 not responding, still trying")),
			"proc.blocked", "10.0.3.9:/srv",
		},
		"an NFS server is dead, and df asks it": {
			ticking(40, base, ticksOf(0, idleCPU(), idleCPU()), people, inD(collectors.WaitNetworkFS, "rpc_wait_bit_killable", "10.0.3.9:/srv", 20, "bpf60", "ls", "app"), said(30, collectors.TroubleNFS, "nfs: server 10.0.3.9 not responding, still trying"),
				func(i int, s *collectors.Snapshot, span collectors.Span) {
					if i%10 == 0 {
						m := &collectors.Mount{Point: collectors.RawString("/srv"), Type: collectors.RawString("nfs4"), Source: collectors.RawString("10.0.3.9:/srv"), Remote: true}
						s.FileSystems = &collectors.FileSystems{Span: span, Rows: []collectors.FileSystem{{Mount: m, Silent: span.To}}}
					}
				}),
			"fs.hung", "10.0.3.9:/srv",
		},
		"one request of one disk among equals": {ticking(20, base, half, people, disks), "disk.latency", "sdc"},
		"the hypervisor takes a third":         {ticking(20, hostWith(collectors.PSI{CPU: some(70)}), ticksOf(6, stolen, stolen), waits(map[time.Duration]int{20 * time.Microsecond: 500, 20 * time.Millisecond: 200}), people), "cpu.steal", ""},
		"memory swaps to zram":                 {ticking(20, hostWith(collectors.PSI{Memory: some(8)}), zram, people), "mem.swapping", "java[5]"},
		"logs are rotated":                     {ticking(18, waiting, half, people, rotates), "disk.latency", "gzip[51]"},
		"df is full and du is not":             {ticking(20, base, half, people, deleted), "fs.full", "java[5]"},
		"a backlog is full":                    {ticking(20, base, half, people, turnedAway), "net.listen_overflow", "nginx[80]"},
		"the ring of a device is full":         {ticking(20, base, half, people, network(10, 0, 300)), "net.drops", "eth0"},
		"a file system turned itself read-only": {
			ticking(20, base, half, people, said(2, collectors.TroubleReadOnly, "EXT4-fs (vdb): Remounting filesystem read-only"), func(i int, s *collectors.Snapshot, span collectors.Span) {
				mounted(collectors.Mount{Forced: i > 2, ReadOnly: i > 2}, 100*gib, func(int) uint64 { return 50 * gib }, 0, 0)(i, s, span)
			}),
			"fs.readonly", "/data",
		},
		"a RAID is rebuilt":     {ticking(20, waiting, half, people, disk(vda(), by(rebuild, owner(30, "db", 40, 1e5, ms(400))), slow)), "disk.background", "md0_resync[50]"},
		"a service has got far": {ticking(80, base, half, people, late), "net.peer_slow", "10.0.3.7:443"},
	} {
		t.Run(name, func(t *testing.T) { firstIs(t, tt.h, tt.id, tt.culprit) })
	}
}
