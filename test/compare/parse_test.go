// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cell is a number as a tool printed it.
type cell struct {
	value float64
	ulp   float64 // one in the last place that was printed
}

// record is a line of a table: its cells by the names of the head.
type record struct {
	row   string // the value of the key column; "" of a table with one line
	cells map[string]cell
}

// clock is the time that sysstat begins its lines with.
var clock = regexp.MustCompile(`^(\d\d:\d\d:\d\d|Average:|Time|#)$`)

// parse reads the tables of a tool's output, by their heads: a head is a line without a number, a
// row one with a number. The key column names the row; a row that has one field more than its head
// is named by the first. Sums at the end are left out.
func parse(text, key string) []record {
	var out []record
	var head []string
	// slabtop's heads of two words.
	text = strings.NewReplacer("OBJ SIZE", "OBJ-SIZE", "CACHE SIZE", "CACHE-SIZE").Replace(text)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "Average:" {
			continue
		}
		for len(fields) > 0 && clock.MatchString(fields[0]) {
			fields = fields[1:]
		}
		if len(fields) < 2 {
			continue
		}
		if !numeric(fields) {
			head = fields
			continue
		}
		if r, ok := row(head, fields, key); ok {
			out = append(out, r)
		}
	}
	return out
}

func numeric(fields []string) bool {
	for _, f := range fields {
		if _, ok := number(f); ok {
			return true
		}
	}
	return false
}

func row(head, fields []string, key string) (record, bool) {
	r := record{cells: map[string]cell{}}
	switch {
	case len(head) == 0:
		return r, false
	case len(fields) == len(head)+1 && strings.HasSuffix(fields[0], ":"):
		r.row, fields = strings.TrimSuffix(fields[0], ":"), fields[1:]
	case strings.HasSuffix(fields[0], ":") && len(fields) <= len(head): // free's Swap has the first columns only
		r.row, fields, head = strings.TrimSuffix(fields[0], ":"), fields[1:], head[:len(fields)-1]
	case len(fields) < len(head):
		return r, false
	}
	for i, name := range head {
		text := fields[i]
		if i == len(head)-1 { // a name at the end may hold blanks
			text = strings.Join(fields[i:], " ")
		}
		if name == key {
			r.row = text
		}
		if c, ok := number(text); ok {
			r.cells[name] = c
		}
	}
	return r, true
}

// number reads a number as a tool prints it, the unit behind it dropped.
func number(text string) (cell, bool) {
	digits := strings.TrimRight(text, "%K")
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.ContainsAny(digits, "xXnNiI_") { // no hex, NaN or Inf: those are names
		return cell{}, false
	}
	ulp := 1.0
	if _, decimals, ok := strings.Cut(digits, "."); ok {
		for range decimals {
			ulp /= 10
		}
	}
	return cell{v, ulp}, true
}

// parseSockets reads ss -tin: a line of a connection, and one of what the kernel knows of it.
func parseSockets(text string) []record {
	var out []record
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, " ") {
			if len(f) < 5 || f[0] == "State" {
				continue
			}
			r := record{row: f[3], cells: map[string]cell{}}
			for i, name := range []string{"Recv-Q", "Send-Q"} {
				if c, ok := number(f[i+1]); ok {
					r.cells[name] = c
				}
			}
			out = append(out, r)
			continue
		}
		if len(out) == 0 {
			continue
		}
		for _, word := range f {
			name, value, _ := strings.Cut(word, ":")
			first, second, two := strings.Cut(value, "/")
			cells := map[string]string{name: first}
			switch {
			case name == "rtt" && two: // mean/deviation
				cells["rttvar"] = second
			case name == "retrans" && two: // under way/since the connection began
				cells[name] = second
			}
			for name, value := range cells {
				if c, ok := number(value); ok {
					out[len(out)-1].cells[name] = c
				}
			}
		}
	}
	return out
}

func TestParseSockets(t *testing.T) {
	const text = `State Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
ESTAB 0      12     127.0.0.1:34567     127.0.0.1:4321
	 cubic wscale:7,7 rto:204 rtt:0.037/0.012 ato:40 mss:32768 cwnd:10 bytes_sent:491520 lastsnd:4
SYN-SENT 0      1      127.0.0.1:34999     127.0.0.1:4322
	 cubic rto:1000 mss:524 cwnd:1 retrans:1/3
`
	want := map[string]map[string]float64{
		"127.0.0.1:34567": {"Recv-Q": 0, "Send-Q": 12, "rto": 204, "rtt": 0.037, "rttvar": 0.012, "ato": 40, "mss": 32768, "cwnd": 10, "bytes_sent": 491520, "lastsnd": 4},
		"127.0.0.1:34999": {"Recv-Q": 0, "Send-Q": 1, "rto": 1000, "mss": 524, "cwnd": 1, "retrans": 3},
	}
	got := map[string]map[string]float64{}
	for _, r := range parseSockets(text) {
		got[r.row] = map[string]float64{}
		for name, c := range r.cells {
			got[r.row][name] = c.value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseSockets (-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text, key string
		want      map[string]map[string]float64 // row → some of its cells
	}{
		"vmstat": {text: `procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 2  0      0 23958404  14672 548508    0    0   540   419  975 21399 25 15 60  0  0
`, want: map[string]map[string]float64{"": {"r": 2, "free": 23958404, "cs": 21399, "st": 0}}},
		"mpstat": {key: "CPU", text: `Linux 6.18.44 (vm) 	2026-11-23 	_x86_64_	(2 CPU)

02:01:14     CPU    %usr   %nice    %sys   %idle
02:01:15     all    0.25    0.00    1.00   98.51
02:01:15       0    0.50    0.00    1.00   99.00

Average:     CPU    %usr   %nice    %sys   %idle
Average:     all    7.00    7.00    7.00    7.00
`, want: map[string]map[string]float64{"all": {"%usr": 0.25, "%idle": 98.51}, "0": {"%usr": 0.5, "CPU": 0}}},
		"pidstat": {key: "PID", text: `Linux 6.18.44 (vm) 	2026-11-23 	_x86_64_	(2 CPU)

# Time        UID       PID    %usr   CPU   cswch/s  Command
02:01:16        0      2707    0.99     1      1.98  kworker/0:0-virtio vsock
`, want: map[string]map[string]float64{"2707": {"UID": 0, "%usr": 0.99, "cswch/s": 1.98}}},
		"iostat": {key: "Device", text: `Linux 6.18.44 (vm) 	2026-11-23 	_x86_64_	(2 CPU)


2026-11-23T02:01:16+0000
avg-cpu:  %user   %nice %system %iowait  %steal   %idle
          24.23    0.98   14.52    0.14    0.34   59.80

Device            r/s     rkB/s  aqu-sz  %util
vda             81.26   1071.26    0.10   0.79
`, want: map[string]map[string]float64{"vda": {"r/s": 81.26, "%util": 0.79}}},
		"sar": {key: "IFACE", text: `Linux 6.18.44 (vm) 	2026-11-23 	_x86_64_	(2 CPU)

02:01:16        IFACE   rxpck/s   txpck/s
02:01:17           lo      1.00      2.00
02:01:17         eth0      3.00      4.00

02:01:16     active/s passive/s    iseg/s    oseg/s
02:01:17         5.00      6.00      7.00      8.00
`, want: map[string]map[string]float64{"lo": {"txpck/s": 2}, "eth0": {"rxpck/s": 3}, "": {"active/s": 5, "oseg/s": 8}}},
		"free": {text: `               total        used        free      shared  buff/cache   available
Mem:     25274793984   484798464 24536694784    13082624   576798720 24789995520
Swap:       33550336     8388608    25161728
`, want: map[string]map[string]float64{"Mem": {"total": 25274793984, "available": 24789995520}, "Swap": {"total": 33550336, "used": 8388608, "free": 25161728}}},
		"slabtop": {key: "NAME", text: ` Active / Total Objects (% used)    : 962029 / 980363 (98.1%)
 Minimum / Average / Maximum Object : 0.01K / 0.28K / 50.25K

  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME
225012 224975  99%    0.04K   2206      102      8824K extent_status
`, want: map[string]map[string]float64{"extent_status": {"OBJS": 225012, "USE": 99, "OBJ-SIZE": 0.04, "CACHE-SIZE": 8824}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[string]map[string]float64{}
			for _, r := range parse(tt.text, tt.key) {
				some, asked := tt.want[r.row]
				if !asked {
					continue
				}
				if got[r.row] == nil {
					got[r.row] = map[string]float64{}
				}
				for c := range some {
					if v, ok := r.cells[c]; ok {
						got[r.row][c] = v.value
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]cell{"12": {12, 1}, "0.99": {0.99, 0.01}, "98.1%": {98.1, 0.1}, "8824K": {8824, 1}, "-1.00": {-1, 0.01}} {
		got, ok := number(text)
		if !ok || got.value != want.value || got.ulp < want.ulp*0.99 || got.ulp > want.ulp*1.01 {
			t.Errorf("number(%q) = %v %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"lo", "0x10", "nan", "inf", "02:01:16", "", "%", "eth0", "1_000"} {
		if got, ok := number(text); ok {
			t.Errorf("number(%q) = %v, want none", text, got)
		}
	}
}
