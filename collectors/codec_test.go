// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// random fills what v is with values that differ, and leaves some zero.
func random(r *rand.Rand, v reflect.Value, depth int) {
	if r.IntN(6) == 0 && depth > 0 && v.Kind() != reflect.Struct {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[Raw]():
		v.Set(reflect.ValueOf(RawString([]string{"fio", "", "\x1b[2J", "日本", "\xff\xfe", `"\u0000\`, "a\nb"}[r.IntN(7)])))
		return
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC()))
		return
	case reflect.TypeFor[netip.AddrPort]():
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(256)), 1}), uint16(r.IntN(1<<16)))))
		return
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(netip.MustParseAddr("fe80::1%eth0")))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64) >> (64 - v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64) >> (64 - v.Type().Bits()))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(float32(r.NormFloat64())))
	case reflect.String:
		v.SetString([]string{"x", "on", "tp_btf a, b"}[r.IntN(3)])
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() {
				random(r, v.Field(i), depth+1)
			}
			if f.Tag.Get("record") == mustTag && v.Field(i).IsNil() {
				v.Field(i).Set(reflect.New(f.Type.Elem()))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 3))
		for i := range v.Len() {
			random(r, v.Index(i), depth+1)
			if x := v.Index(i); x.Kind() == reflect.Pointer && x.IsNil() {
				x.Set(reflect.New(x.Type().Elem()))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			random(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, k := range []string{"a", `b"`} {
			x := reflect.New(v.Type().Elem()).Elem()
			random(r, x, depth+1)
			v.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), x)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		random(r, v.Elem(), depth+1)
	}
}

// same compares what is recorded of two values: unexported fields are not.
func same(want, got any) string {
	if reflect.DeepEqual(want, got) { // a hundred times as fast, and stricter
		return ""
	}
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b Raw) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool {
			f, ok := p.Last().(cmp.StructField)
			return ok && f.Name() != "" && (f.Name()[0] >= 'a' && f.Name()[0] <= 'z')
		}, cmp.Ignore()))
}

// TestCodecRoundTrip: every field that a snapshot can hold comes back, whatever is in it, as JSON that
// others can read as well.
func TestCodecRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var p plans
	e, d := newEncoder(&p), newDecoder(&p)
	for i := range 40 {
		var want, got Snapshot
		random(r, reflect.ValueOf(&want).Elem(), 0)
		line, err := e.encode(&want)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(line) {
			t.Fatalf("no JSON: %.300s", line)
		}
		if err := d.decode(line, &got); err != nil {
			t.Fatalf("decode: %v in %.300s", err, line)
		}
		if diff := same(want, got); diff != "" {
			t.Fatalf("snapshot %d (-want +got):\n%.3000s", i, diff)
		}
	}
}

// TestCodecProcess: who a process is, is written once in a chapter; what nothing else points to has no number.
func TestCodecProcess(t *testing.T) {
	var p plans
	e, d := newEncoder(&p), newDecoder(&p)
	who := Process{TGID: 42, Start: 1 << 60}
	want := Snapshot{Tasks: &Tasks{Gone: []Process{who, {TGID: 7}, who}, Rows: []TaskRow{{ProcInfo: &ProcInfo{Process: who}, More: &TaskMore{Swap: 1}}}}}
	line, err := e.encode(&want)
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"tasks":{"rows":{"#":1,"proc_info":[{"#":1,"process":{"#":2,"tgid":42,"start":1152921504606846976}}],` +
		`"more":[{"swap":1}]},"gone":[2,{"#":3,"tgid":7},2]}}`
	if diff := cmp.Diff(text, string(line)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	var got Snapshot
	if err := d.decode(line, &got); err != nil {
		t.Fatal(err)
	}
	if diff := same(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	for _, bad := range []string{`{"tasks":{"gone":[1]}}`, `{"tasks":{"#":1,"gone":[1]}}`, `{"tasks":{"gone":[null]}}x`} {
		if err := newDecoder(&p).decode([]byte(bad), &Snapshot{}); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestCodecShares: what snapshots of a chapter share is written once and is shared again.
func TestCodecShares(t *testing.T) {
	var p plans
	e, d := newEncoder(&p), newDecoder(&p)
	info := &ProcInfo{PID: 42, Args: RawString(strings.Repeat("long ", 100))}
	var got [2]Snapshot
	for i := range got {
		s := Snapshot{Tasks: &Tasks{Rows: []TaskRow{{ProcInfo: info, Run: time.Second}, {ProcInfo: info}}}}
		line, err := e.encode(&s)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && len(line) > 200 {
			t.Errorf("the second line is %d bytes long, it should refer to the first: %s", len(line), line)
		}
		if err := d.decode(line, &got[i]); err != nil {
			t.Fatal(err)
		}
	}
	rows := append(got[0].Tasks.Rows, got[1].Tasks.Rows...)
	for i := range rows {
		if rows[i].ProcInfo == nil || rows[i].ProcInfo != rows[0].ProcInfo || rows[i].PID != 42 {
			t.Errorf("row %d does not share the process of the first", i)
		}
	}
	d.reset()
	e.reset()
	line, err := e.encode(&Snapshot{Tasks: &Tasks{Rows: []TaskRow{{ProcInfo: info}}}})
	if err != nil {
		t.Fatal(err)
	}
	var alone Snapshot
	if err := d.decode(line, &alone); err != nil || alone.Tasks.Rows[0].PID != 42 {
		t.Errorf("a new chapter does not stand alone: %v", err)
	}
}

func TestCodecNames(t *testing.T) {
	for in, want := range map[string]string{
		"PID": "pid", "RSS": "rss", "OnCPUTotal": "on_cpu_total", "ProcInfo": "proc_info", "MinFlt": "min_flt", "CPUs": "cpus", "From": "from", "TCPMem": "tcp_mem",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestCodecSkips: fields of a newer version are passed over, and what is missing is zero.
func TestCodecSkips(t *testing.T) {
	const line = ` {"future":{"a":[1,{"b":"\u00e9\ud83d\ude00"}],"h":{"hex":"ff"}}, "seq":7,"host":{"#":1,"from_ns":5,"more":null,"load":[0,1.5,9,3]},
		"tasks":{"#":2,"rows":{"#":2,"unknown":[true,[]],"run_ns":[1,2],"proc_info":[{"#":3,"pid":4,"new":{}},3]}},"taken":"2026-01-02T03:04:05.6Z"}`
	var p plans
	var s Snapshot
	if err := newDecoder(&p).decode([]byte(line), &s); err != nil {
		t.Fatal(err)
	}
	if s.Seq != 7 || s.Host.From != 5 || s.Host.Load != [3]float64{1.5} || len(s.Tasks.Rows) != 2 || s.Tasks.Rows[1].PID != 4 || s.Taken.Year() != 2026 {
		t.Errorf("decoded %+v", s)
	}
}

func TestCodecRefuses(t *testing.T) {
	tests := map[string]string{
		"cut":              `{"seq":`,
		"no end":           `{"seq":1`,
		"more":             `{"seq":1}{`,
		"too large":        `{"tasks":{"rows":{"#":999999999}}}`,
		"negative":         `{"tasks":{"rows":{"#":-1}}}`,
		"columns first":    `{"tasks":{"rows":{"run_ns":[1],"#":1}}}`,
		"too many values":  `{"tasks":{"rows":{"#":1,"run_ns":[1,2]}}}`,
		"unknown pointer":  `{"host":7}`,
		"another's":        `{"host":{"#":1},"cpu":1}`,
		"too deep":         strings.Repeat(`{"x":`, 40) + "1" + strings.Repeat("}", 40),
		"wrong kind":       `{"seq":"one"}`,
		"out of range":     `{"host":{"runnable":99999999999999999999}}`,
		"escape":           `{"probes":{"\q":{}}}`,
		"not text":         `{"host":{"facts":{"kernel":{"hex":{"hex":""}}}}}`,
		"control in names": "\x00",
	}
	for name, line := range tests {
		t.Run(name, func(t *testing.T) {
			var p plans
			var s Snapshot
			if err := newDecoder(&p).decode([]byte(line), &s); err == nil {
				t.Errorf("decode(%q): no error", line)
			}
		})
	}
}

// TestCodecGuards: what a row is about cannot be left out, and what is taken for our own words does nothing.
func TestCodecGuards(t *testing.T) {
	for name, line := range map[string]string{
		"row about nothing":        `{"tasks":{"rows":{"#":1,"run_ns":[5]}}}`,
		"row about null":           `{"tasks":{"rows":{"#":1,"proc_info":[null]}}}`,
		"fewer than rows":          `{"tasks":{"rows":{"#":2,"proc_info":[{"#":1}]}}}`,
		"list with nothing in it":  `{"log":{"new":[null]}}`,
		"disks without their list": `{"disk":{"from_ns":1}}`,
		"zone of an address":       `{"sockets":{"peers":{"#":1,"addr":["fe80::1%\u001b[2J"]}}}`,
	} {
		if err := newDecoder(&plans{}).decode([]byte(line), &Snapshot{}); !errors.Is(err, errSyntax) {
			t.Errorf("%s: decode(%s) = %v, want a refusal", name, line, err)
		}
	}
	var s Snapshot
	const words = `{"probes":{"a\u001b":{"#":1,"name":["x\u001b[2J"]}}}`
	if err := newDecoder(&plans{}).decode([]byte(words), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[ID][]Probe{`a\x1b`: {{Name: `x\x1b[2J`}}}, s.Probes); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
}

func FuzzCodec(f *testing.F) {
	var p plans
	r := rand.New(rand.NewPCG(3, 4))
	for range 3 {
		var s Snapshot
		random(r, reflect.ValueOf(&s).Elem(), 0)
		line, err := newEncoder(&p).encode(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(string(line)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var s, again Snapshot
		if newDecoder(&p).decode(line, &s) != nil {
			return
		}
		out, err := newEncoder(&p).encode(&s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if err := newDecoder(&p).decode(out, &again); err != nil {
			t.Fatalf("what was written cannot be read: %v in %.300s", err, out)
		}
	})
}
