// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bpf60/collectors"
)

// doctorWait bounds how long doctor waits for probes to attach. The budget of all of them is
// 500 ms on a well host; an emulated one takes ten seconds.
const doctorWait = 30 * time.Second

// Fact is one thing about the host that decides what can be measured.
type Fact struct {
	Name   string `json:"name"`   // "kernel BTF"
	Value  string `json:"value"`  // "present"
	Remedy string `json:"remedy"` // what would make more possible; empty when nothing is missing
}

// diagnosis is the JSON of doctor, schema bpf60.doctor/1; fields are only added.
type diagnosis struct {
	Schema  string        `json:"schema"`
	Version string        `json:"version"`
	Probes  []doctorProbe `json:"probes"`
	Facts   []Fact        `json:"facts"`
}

type doctorProbe struct {
	Name   string           `json:"name"`
	State  collectors.State `json:"state"`
	Hook   string           `json:"hook"`
	Reason string           `json:"reason"`
	Remedy string           `json:"remedy"`
}

func (c *commands) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say probe by probe what works here, how, and what would make the rest work",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			o.Wide, o.Interval = true, minInterval
			d, err := c.diagnose(o)
			if err != nil {
				return err
			}
			write := writeDiagnosis
			if asJSON {
				write = writeDiagnosisJSON
			}
			return readerLeft(write(cmd.OutOrStdout(), d))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// diagnose runs a session until every probe has settled.
func (c *commands) diagnose(o options) (diagnosis, error) {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	d := diagnosis{Schema: "bpf60.doctor/1", Version: c.version}
	s, err := c.parts.open(o)
	if err != nil {
		return d, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	stop, got := endBySignal(cancel)
	defer stop()
	var probes []collectors.Probe
	err = s.Run(ctx, func() {
		if ctx.Err() != nil {
			return // closing probes are no diagnosis
		}
		if probes = s.Probes(); settled(probes) {
			cancel()
		}
	})
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}
	if err != nil && ctx.Err() == nil {
		return d, err
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.complain("%v", err)
	}
	for _, p := range probes {
		d.Probes = append(d.Probes, doctorProbe{p.Name, p.State, p.Hook, p.Reason, p.Remedy})
	}
	d.Facts = c.parts.facts()
	return d, nil
}

// settled says that no probe is still on its way.
func settled(probes []collectors.Probe) bool {
	for _, p := range probes {
		if p.State == collectors.Warming {
			return false
		}
	}
	return len(probes) > 0
}

func writeDiagnosisJSON(w io.Writer, d diagnosis) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(d)
}

// writeDiagnosis prints a line for each probe and fact; a reason and a remedy follow on lines of
// their own, because they are sentences.
func writeDiagnosis(w io.Writer, d diagnosis) error {
	var b strings.Builder
	safe := func(s string) string { return collectors.Clean(collectors.RawString(s)).String() }
	why := func(reason, remedy string) {
		if reason != "" {
			fmt.Fprintf(&b, "    %s\n", safe(reason))
		}
		if remedy != "" {
			fmt.Fprintf(&b, "    remedy: %s\n", safe(remedy))
		}
	}
	wide := len("PROBE")
	for _, p := range d.Probes {
		wide = max(wide, len(p.Name))
	}
	fmt.Fprintf(&b, "%-*s  %-8s  %s\n", wide, "PROBE", "STATE", "HOOK")
	for _, p := range d.Probes {
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s  %-8s  %s", wide, safe(p.Name), p.State, safe(p.Hook)), " "))
		why(p.Reason, p.Remedy)
	}
	wide = len("HOST")
	for _, f := range d.Facts {
		wide = max(wide, len(f.Name))
	}
	fmt.Fprintf(&b, "\n%-*s  %s\n", wide, "HOST", "VALUE")
	for _, f := range d.Facts {
		fmt.Fprintf(&b, "%-*s  %s\n", wide, safe(f.Name), safe(f.Value))
		why("", f.Remedy)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
