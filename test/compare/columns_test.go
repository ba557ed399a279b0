// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// column is one column that a classic tool and the program both have.
type column struct {
	name string   // the tool's
	pane string   // where ours is
	ids  []string // ours, tried in turn; none: the tool's name
	unit string   // the tool's, where it is not ours
	tool string
	moves
}

const (
	// span is how long everybody measures, in seconds.
	span = 5
	// stagger is how much later the second of two equal tools starts, in seconds. Ours is between them.
	stagger = 0.1
	// shift is the part of a steady rate that a window shifted by the stagger explains.
	shift = stagger / span
	// drift is the part of a gauge that may come and go between two readings, besides what the tool saw
	// come and go itself.
	drift = 0.003
)

// moves is how a number may differ between two who read it at other moments.
type moves struct {
	step  float64 // the smallest step of the counter behind it, at both ends of the window
	gauge bool    // it has no window: it may be anywhere between two readings
	total bool    // it is what came together in the window, not a rate: ours has a longer window
	none  bool    // they print 0 where there is nothing to divide by or nobody counts, we print -
	maybe bool    // ours may be missing: the kernel is known to count it wrong where others take what it says
}

func rate(step float64) moves { return moves{step: step} }

// orNone lets ours be missing where theirs is 0.
func orNone(m moves) moves {
	m.none = true
	return m
}

// still is a gauge that moves so much between two readings, besides what the tool saw.
func still(step float64) moves { return moves{step: step, gauge: true} }

// required are the panes that the report must have; others are told and skipped until they are
// built.
func required() []string {
	return []string{"overview", "cpu", "processes", "memory", "disk", "network", "tcp"}
}

// instance is a tool that runs beside the program, as often as it is here to be compared.
type instance struct {
	name string
	argv []string
	key  string  // column that names a row
	at   float64 // when it starts, in s
}

// instances are all tools, each twice: rates are measured over the whole span, gauges once a
// second.
func instances() []instance {
	var out []instance
	for _, at := range []float64{0, stagger} {
		out = append(out,
			instance{name: "vmstat", argv: split("vmstat -n 5 2"), at: at},
			instance{name: "mpstat", argv: split("mpstat -P ALL 5 1"), key: "CPU", at: at},
			instance{name: "pidstat", argv: split("pidstat -u -r -d -w -h 5 1"), key: "PID", at: at},
			instance{name: "iostat", argv: split("iostat -xyzt 5 1"), key: "Device", at: at},
			instance{name: "sar", argv: split("sar -B -n DEV,EDEV,TCP,ETCP 5 1"), key: "IFACE", at: at},
		)
	}
	return append(out,
		instance{name: "vmstat 1", argv: split("vmstat -n 1 6")},
		// Its memory columns are of the first second in all lines (procps 4.0.2): hence not from it.
		instance{name: "vmstat once", argv: split("vmstat"), at: 1}, // not with those that begin now
		instance{name: "vmstat once", argv: split("vmstat"), at: span / 2},
		instance{name: "vmstat once", argv: split("vmstat"), at: span},
		instance{name: "free", argv: split("free -b -s 1 -c 6")},
		instance{name: "sar -rvq", argv: split("sar -r -v -q 1 6")},
		instance{name: "slabtop", argv: split("slabtop -o"), key: "NAME", at: 1},
		instance{name: "slabtop", argv: split("slabtop -o"), key: "NAME", at: span / 2},
		instance{name: "slabtop", argv: split("slabtop -o"), key: "NAME", at: span},
		instance{name: "ss", argv: split("ss -tin"), key: "local_address", at: 1},
		instance{name: "ss", argv: split("ss -tin"), key: "local_address", at: span / 2},
		instance{name: "ss", argv: split("ss -tin"), key: "local_address", at: span},
	)
}

func split(s string) []string { return strings.Fields(s) }

// columns are all columns of all tools. Names are the tool's, with ours behind = where it differs.
func columns() []column {
	var out []column
	add := func(tool, pane string, m moves, unit string, names string) {
		for _, name := range strings.Fields(names) {
			ids := []string{name}
			if i := strings.IndexByte(name, '='); i > 0 {
				ids = strings.Split(strings.ReplaceAll(name[i+1:], "_SIZE", " SIZE"), "|")
				name = name[:i]
			}
			out = append(out, column{tool: tool, pane: pane, name: name, ids: ids, unit: unit, moves: m})
		}
	}
	var (
		events = rate(2.0 / span)            // a second
		ticks  = rate(100 * 2 * 0.01 / span) // % of one CPU: of 10 ms
		whole  = rate(1)                     // % without decimals
		blocks = rate(2 * 16.0 / span)       // KiB a second: the writes of the load
		gauge  = still(0)
	)
	add("vmstat", "cpu", events, "", "in cs")
	add("vmstat", "cpu", whole, "", "us sy id wa st gu")
	add("vmstat", "cpu", blocks, "KiB", "bi bo")
	add("vmstat", "cpu", events, "KiB", "si so")
	add("vmstat 1", "cpu", still(1), "", "r b")
	add("vmstat once", "memory", gauge, "KiB", "swpd free buff=buff|buffers cache")
	// %irq is - where the kernel does not account for it, and 0 in mpstat.
	add("mpstat", "cpu", orNone(ticks), "", "%irq")
	add("mpstat", "cpu", ticks, "", "%usr %nice %sys %iowait %soft %steal %guest %gnice %idle")
	add("pidstat", "processes", ticks, "", "%usr %system=%sys|%system %guest %wait %CPU")
	add("pidstat", "processes", still(0.01), "", "%MEM")
	add("pidstat", "processes", events, "", "minflt/s majflt/s cswch/s nvcswch/s")
	add("pidstat", "processes", gauge, "KiB", "VSZ")
	// pidstat reads /proc/PID/stat, which lacks what each CPU keeps to itself since 6.2: so many pages of
	// three kinds (percpu_counter_batch). Ours are exact, which the tests of package bpf hold.
	cpus := float64(runtime.NumCPU())
	add("pidstat", "processes", still(3*4*cpus*max(32, 2*cpus)), "KiB", "RSS")
	add("pidstat", "processes", blocks, "KiB", "kB_rd/s kB_wr/s kB_ccwr/s")
	// Since 6.12 a wait can be counted as long as the uptime (TestLived in package collectors). The disk's
	// times of one second and the next differ by a tenth.
	add("pidstat", "processes", moves{step: 2 + span, total: true, maybe: true}, "ticks", "iodelay")
	add("iostat", "disk", events, "", "r/s w/s d/s f/s rrqm/s wrqm/s drqm/s")
	add("iostat", "disk", blocks, "KiB", "rkB/s wkB/s dkB/s")
	add("iostat", "disk", orNone(rate(0.5)), "", "%rrqm %wrqm %drqm")
	add("iostat", "disk", orNone(rate(0.02)), "", "r_await w_await d_await f_await")
	add("iostat", "disk", orNone(rate(0.1)), "KiB", "rareq-sz wareq-sz dareq-sz")
	add("iostat", "disk", rate(0.001), "", "aqu-sz")
	add("iostat", "disk", rate(0.1), "", "%util")
	add("free", "memory", gauge, "bytes", "total used free shared buff/cache=buffers+cache available")
	add("free Swap", "memory", gauge, "bytes", "total=swap_total used=swpd free=swap_free")
	add("slabtop", "memory", gauge, "", "OBJS ACTIVE SLABS OBJ/SLAB")
	add("slabtop", "memory", still(1), "", "USE")
	add("slabtop", "memory", gauge, "KiB", "OBJ-SIZE=OBJ_SIZE CACHE-SIZE=CACHE_SIZE")
	add("sar -rvq", "overview", still(0.01), "", "ldavg-1=load1 ldavg-5=load5 ldavg-15=load15")
	add("sar -rvq", "memory", gauge, "KiB", "kbmemfree=free kbavail=available kbbuffers=buffers|buff kbdirty=dirty")
	add("sar -rvq", "memory", gauge, "", "dentunusd file-nr inode-nr pty-nr")
	add("sar", "memory", events, "", "fault/s majflt/s pgscank/s pgscand/s pgsteal/s")
	add("sar", "network", events, "", "rxpck/s txpck/s rxcmp/s txcmp/s rxmcst/s")
	add("sar", "network", blocks, "KiB", "rxkB/s txkB/s")
	add("sar", "network", orNone(rate(0.01)), "", "%ifutil")
	add("sar", "network", events, "", "rxerr/s txerr/s coll/s rxdrop/s txdrop/s txcarr/s rxfram/s rxfifo/s txfifo/s")
	// sar 12.6 says retrans/s for what is retrseg/s elsewhere.
	add("sar", "tcp", events, "", "active/s passive/s iseg/s oseg/s atmptf/s estres/s retrseg/s retrans/s=retrseg/s isegerr/s orsts/s")
	add("ss", "tcp", still(48<<10), "", "Recv-Q=recv-q Send-Q=send-q") // what the load sends in a beat
	add("ss", "tcp", gauge, "", "mss rto")
	add("ss", "tcp", still(2), "", "cwnd")
	add("ss", "tcp", still(0.1), "", "rtt rttvar")
	add("ss", "tcp", still(0.01), "", "minrtt")
	add("ss", "tcp", gauge, "", "retrans")
	return out
}

// keyOf is the column that names the rows of a tool; "" of a tool with one row.
func keyOf(tool string) string {
	for _, i := range instances() {
		if i.name == tool {
			return i.key
		}
	}
	return ""
}

// bytesOf are the units of quantities of bytes.
func bytesOf(unit string) (float64, bool) {
	switch strings.TrimSuffix(unit, "/s") {
	case "B", "bytes", "byte":
		return 1, true
	case "KiB", "kB", "K":
		return 1 << 10, true
	case "MiB", "MB", "M":
		return 1 << 20, true
	case "GiB", "GB", "G":
		return 1 << 30, true
	}
	return 0, false
}

// convert brings a number of ours into the tool's unit.
func convert(v float64, ours, theirs string) float64 {
	if ours == "ms" && theirs == "ticks" { // of sysconf(_SC_CLK_TCK), 100 a second
		return v / 10
	}
	a, ok := bytesOf(ours)
	b, ok2 := bytesOf(theirs)
	if !ok || !ok2 {
		return v
	}
	return v * a / b
}

// rowsOf are the rows of a tool that must agree: of processes the loads, of caches the largest, else
// all.
func rowsOf(tool string, seen map[string][]record, loads map[string]int) []string {
	var out []string
	for row := range seen {
		out = append(out, row)
	}
	slices.Sort(out)
	switch tool {
	case "pidstat":
		var ours []string
		for _, pid := range loads {
			ours = append(ours, strconv.Itoa(pid))
		}
		out = slices.DeleteFunc(out, func(row string) bool { return !slices.Contains(ours, row) })
	case "ss": // connections that were there all the time, each by its own port
		out = slices.DeleteFunc(out, func(row string) bool { return len(seen[row]) != 3 })
	case "slabtop":
		// What tools open in /proc is in this one: it moves with each of them.
		out = slices.DeleteFunc(out, func(row string) bool { return row == "proc_inode_cache" })
		const largest = 6
		size := func(row string) float64 { return seen[row][0].cells["CACHE-SIZE"].value }
		slices.SortFunc(out, func(a, b string) int { return cmp.Compare(size(b), size(a)) })
		out = out[:min(largest, len(out))]
	}
	return out
}
