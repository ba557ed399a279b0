// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// schema names the JSON report. Fields are added, never renamed.
const schema = "bpf60.report/1"

type jsonReport struct {
	Schema    string              `json:"schema"`
	Version   string              `json:"version"`
	Host      *jsonHost           `json:"host"`
	Started   string              `json:"started"`
	Duration  float64             `json:"duration_seconds"`
	Interval  *float64            `json:"interval_seconds"`
	Samples   int                 `json:"samples"`
	Rules     int                 `json:"rules"`
	Masking   string              `json:"masking"` // how far arguments can be shown to others
	Self      *jsonSelf           `json:"self"`
	Probes    []jsonProbe         `json:"probes"`
	Findings  []jsonFinding       `json:"findings"`
	Healthy   []Healthy           `json:"healthy"`
	Unchecked []Unchecked         `json:"unchecked"`
	Scope     string              `json:"scope,omitempty"` // what rows that tell their owner are of; absent: the host
	Changes   []jsonChange        `json:"changes"`
	Panes     map[string]jsonPane `json:"panes"`
}

type jsonHost struct {
	Hostname  collectors.Safe `json:"hostname"`
	Kernel    collectors.Safe `json:"kernel"`
	Arch      collectors.Safe `json:"arch"`
	CPUs      int             `json:"cpus"`
	Memory    uint64          `json:"memory_bytes"`
	Uptime    float64         `json:"uptime_seconds"`
	BootID    collectors.Safe `json:"boot_id"`
	Container bool            `json:"container"`
}

type jsonSelf struct {
	CPU    float64 `json:"cpu_seconds"`
	MaxRSS uint64  `json:"max_rss_bytes"`
	BPF    float64 `json:"bpf_seconds"`
	Lost   uint64  `json:"lost_events"`
}

type jsonProbe struct {
	Name       string           `json:"name"`
	State      collectors.State `json:"state"`
	Hook       string           `json:"hook"`
	Reason     collectors.Safe  `json:"reason"`
	Remedy     string           `json:"remedy"`
	Events     uint64           `json:"events"`
	Lost       uint64           `json:"lost"`
	NsPerEvent float64          `json:"ns_per_event"`
}

type jsonFinding struct {
	ID        string          `json:"id"`
	Severity  triage.Severity `json:"severity"`
	Title     string          `json:"title"`
	Resource  string          `json:"resource"`
	Value     float64         `json:"value"`
	Unit      string          `json:"unit"`
	Threshold float64         `json:"threshold"`
	N         uint64          `json:"n"`
	Window    float64         `json:"window_seconds"`
	CausedBy  *string         `json:"caused_by"`
	Victims   []jsonCulprit   `json:"victims"`
	Quality   string          `json:"quality"`
	Until     *string         `json:"until"`
	Evidence  []string        `json:"evidence"`
	Culprits  []jsonCulprit   `json:"culprits"`
	Since     string          `json:"since"`
	AtStart   bool            `json:"at_start"`
	Pane      string          `json:"pane"`
	Command   string          `json:"command"`
}

type jsonCulprit struct {
	Kind   string          `json:"kind"`
	Name   collectors.Safe `json:"name"`
	PID    int32           `json:"pid,omitempty"`
	Cgroup collectors.Safe `json:"cgroup"`
	Share  float64         `json:"share"`
	Parent *jsonParent     `json:"parent,omitempty"`      // of a culprit that was there at the end
	Age    *float64        `json:"age_seconds,omitempty"` // its, at the end
}

type jsonParent struct {
	Name collectors.Safe `json:"name"`
	PID  int32           `json:"pid"`
}

// jsonChange is something that is not as it was; without an age it is a count over the whole run.
type jsonChange struct {
	Kind string          `json:"kind"` // log, oom, kill, start, exec
	Age  *float64        `json:"age_seconds"`
	Text collectors.Safe `json:"text"`
}

type jsonPane struct {
	Columns    []jsonColumn             `json:"columns"`
	Rows       [][]Cell                 `json:"rows"`
	Facts      []jsonFact               `json:"facts"`
	Histograms map[string]jsonHistogram `json:"histograms"`
	Badges     map[string]string        `json:"badges"` // by "row/column"
	Missing    map[string]string        `json:"missing"`
	Notes      []string                 `json:"notes"`
	MoreRows   int                      `json:"more_rows,omitempty"` // rows that are left out
	Tables     map[string]jsonPane      `json:"tables,omitempty"`    // the pane's other tables, by title
}

type jsonColumn struct {
	ID   string `json:"id"`
	Unit string `json:"unit"`
}

type jsonFact struct {
	ID    string `json:"id"`
	Unit  string `json:"unit"`
	Value Cell   `json:"value"`
}

type jsonHistogram struct {
	Unit    string       `json:"unit"`
	Buckets []jsonBucket `json:"buckets"`
	Count   uint64       `json:"count"`
	Sum     float64      `json:"sum"`
}

// jsonBucket holds the non-empty bucket up to Le, inclusive; the last has no upper edge.
type jsonBucket struct {
	Le    *uint64 `json:"le"`
	Count uint64  `json:"count"`
}

// JSON writes the report as one line of JSON.
func JSON(w io.Writer, r Report) error {
	f := r.Frame
	out := jsonReport{
		Schema: schema, Version: r.Version, Started: r.Started.Format(time.RFC3339), Duration: r.Duration.Seconds(),
		Samples: samples(f), Rules: f.Rules, Masking: maskingNote,
		Probes: []jsonProbe{}, Findings: []jsonFinding{}, Healthy: []Healthy{}, Unchecked: []Unchecked{}, Changes: []jsonChange{}, Panes: map[string]jsonPane{},
	}
	out.Scope = f.Scope.Name
	if r.Interval > 0 {
		s := r.Interval.Seconds()
		out.Interval = &s
	}
	out.Healthy = append(out.Healthy, r.Healthy...)
	out.Unchecked = append(out.Unchecked, r.Unchecked...)
	if h := lastHost(f); h != nil && h.Facts != nil {
		x := h.Facts
		out.Host = &jsonHost{collectors.Clean(x.Hostname), safe(x.Kernel), safe(x.Arch), x.CPUs, h.Mem.Total, h.Uptime.Seconds(), safe(x.BootID), x.InContainer}
	}
	_, _, lost := probeCounts(f)
	if s := newest(f, selfOf); s != nil {
		out.Self = &jsonSelf{s.CPUTotal.Seconds(), s.MaxRSS, s.BPFTotal.Seconds(), max(s.Lost, lost)}
	}
	for _, p := range probes(f) {
		out.Probes = append(out.Probes, jsonProbe{p.Name, p.State, p.Hook, safe(stateReason(p.Probe)), p.Remedy, p.Events, p.Lost, p.NsPerEvent})
	}
	began := r.Started // of the run's time 0, by the same clock: a clock that was set meanwhile moves nothing
	if f.Now.Snapshot != nil {
		began = r.Started.Add(r.Duration - f.Now.At)
	}
	for _, l := range listed(f) {
		out.Findings = append(out.Findings, findingJSON(f, l.finding, began))
	}
	for _, c := range changes(f) {
		one := jsonChange{Kind: c.kind, Text: safe(c.text)}
		if c.age >= 0 {
			s := c.age.Seconds()
			one.Age = &s
		}
		out.Changes = append(out.Changes, one)
	}
	for _, p := range r.Panes {
		out.Panes[string(p.Info().ID)] = paneJSON(p.Table(f))
	}
	b, err := marshal(out)
	if err != nil {
		return fmt.Errorf("writing the report as JSON: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// stateReason is why a probe is not on; idle and warming are off to a reader of JSON.
func stateReason(p collectors.Probe) string {
	if p.Reason != "" {
		return p.Reason
	}
	switch p.State {
	case collectors.Idle:
		return "attaches while somebody looks"
	case collectors.Warming:
		return "no reading yet"
	case collectors.Off, collectors.On, collectors.Degraded, collectors.Failed:
	}
	return ""
}

func findingJSON(f Frame, x triage.Finding, began time.Time) jsonFinding {
	out := jsonFinding{
		ID: x.ID, Severity: x.Severity, Title: x.Title, Resource: x.Resource, Value: x.Value, Unit: x.Unit, Threshold: x.Threshold,
		N: x.N, Window: x.Window.Seconds(), Quality: x.Quality, Evidence: append([]string{}, x.Evidence...),
		Victims: culpritsJSON(Frame{}, x.Victims), Culprits: culpritsJSON(f, x.Culprits),
		Since: began.Add(x.Since).Format(time.RFC3339), AtStart: x.AtStart, Pane: x.Pane, Command: x.Command,
	}
	if x.CausedBy != "" {
		out.CausedBy = &x.CausedBy
	}
	if x.Until > 0 {
		s := began.Add(x.Until).Format(time.RFC3339)
		out.Until = &s
	}
	return out
}

// culpritsJSON are names with their shares; of processes that the frame knows with their parent and age.
func culpritsJSON(f Frame, list []triage.Culprit) []jsonCulprit {
	out := []jsonCulprit{}
	for _, x := range list {
		c := jsonCulprit{Kind: x.Kind, Name: x.Name, PID: x.Target.Process.TGID, Cgroup: x.Cgroup, Share: x.Share}
		o := originOf(f, x.Target)
		if o.parent != nil {
			c.Parent = &jsonParent{collectors.Clean(o.parent.Comm), o.parent.TGID}
		}
		if o.age > 0 {
			s := o.age.Seconds()
			c.Age = &s
		}
		out = append(out, c)
	}
	return out
}

func paneJSON(t Table) jsonPane {
	out := jsonPane{
		Columns: []jsonColumn{}, Rows: [][]Cell{}, Facts: []jsonFact{}, Histograms: map[string]jsonHistogram{},
		Badges: map[string]string{}, Missing: map[string]string{}, Notes: append([]string{}, t.Notes...),
	}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, jsonColumn{c.ID, c.Unit})
	}
	rows := t.Rows[:min(len(t.Rows), jsonRowsMost)]
	out.MoreRows = len(t.Rows) - len(rows)
	for _, r := range rows {
		cells := make([]Cell, len(t.Columns))
		for i := range cells {
			cells[i] = r.cell(i)
		}
		out.Rows = append(out.Rows, cells)
		id := safe(r.ID).String() // it may be a name that others chose
		for i, c := range cells {
			at := id + "/" + t.Columns[i].ID
			if c.Badge != "" {
				out.Badges[at] = c.Badge
			}
			if !c.Known() {
				out.Missing[at] = c.Why
			}
		}
	}
	for _, x := range t.Facts {
		out.Facts = append(out.Facts, jsonFact{x.ID, x.Unit, x.Cell})
		if !x.Cell.Known() {
			out.Missing[x.ID] = x.Cell.Why
		}
	}
	for _, h := range t.Histograms {
		if h.Now == nil {
			out.Missing[h.ID] = h.Why
			continue
		}
		j := jsonHistogram{Unit: "us", Buckets: []jsonBucket{}, Count: h.Now.Count(), Sum: float64(h.Now.Sum) / 1e3}
		for i, n := range h.Now.Slots {
			if n == 0 {
				continue
			}
			b := jsonBucket{Count: n}
			if i < collectors.HistSlots-1 {
				le := collectors.SlotBucket(i).Hi
				b.Le = &le
			}
			j.Buckets = append(j.Buckets, b)
		}
		out.Histograms[h.ID] = j
		if h.Badge != "" {
			out.Badges[h.ID] = h.Badge
		}
	}
	for _, more := range t.More {
		if out.Tables == nil {
			out.Tables = map[string]jsonPane{}
		}
		out.Tables[more.Title] = paneJSON(more)
	}
	return out
}

// marshal writes v without escaping < > & for HTML: reports are read by people too.
func marshal(v any) ([]byte, error) {
	var b jsonBuffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b[:len(b)-1], nil
}

type jsonBuffer []byte

func (b *jsonBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
