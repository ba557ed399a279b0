// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bpf60/collectors"
)

func (c *commands) report() *cobra.Command {
	var (
		span    time.Duration
		output  string
		from    string
		request reportRequest
	)
	cmd := &cobra.Command{
		Use:   "report [PANE...]",
		Short: "measure for a while and print a report",
		Long: `report measures without a screen and prints what it saw: the findings, what was ruled out, and
the panes, of which the named ones. Ctrl+c ends it early with the report of the time it had.`,
		Example: `  bpf60 report --brief > ticket.txt
  bpf60 report --for 10s --format json cpu
  bpf60 report --format html --output host.html`,
		ValidArgs: c.parts.panes,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			for _, p := range args {
				if err := oneOf("pane", p, c.parts.panes); err != nil {
					return err
				}
			}
			if err := oneOf("format", request.Format, formats()); err != nil {
				return err
			}
			if span < o.Interval {
				return usagef("--for %v is shorter than the interval of %v", span, o.Interval)
			}
			request.Panes = args
			if o.Hold = args; len(args) == 0 {
				o.Hold = c.everyPane()
			}
			if request.Brief && request.Format == "text" {
				o.Hold = nil // no pane is printed
			}
			if from != "" {
				return c.reportFrom(o, from, output, request)
			}
			return c.measure(o, span, output, request)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&span, "for", time.Minute, "`TIME` to measure")
	f.StringVar(&request.Format, "format", "text", "`FORMAT`: "+strings.Join(formats(), ", "))
	f.StringVar(&from, "from", "", "report a `RECORDING` instead of this host")
	f.StringVar(&output, "output", "", "write to a new `FILE` instead of stdout")
	f.BoolVar(&request.Brief, "brief", false, "only the part for a ticket")
	return cmd
}

// everyPane names the panes of a report that names none: all but the dear ones.
func (c *commands) everyPane() []string {
	return slices.DeleteFunc(slices.Clone(c.parts.panes), func(id string) bool { return slices.Contains(c.parts.dear, id) })
}

// measure runs a session for the span and writes the report of the time it had.
func (c *commands) measure(o options, span time.Duration, output string, r reportRequest) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	if output != "" {
		if err := canWrite(c.who, output); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), span+o.Interval)
	defer cancel()
	o.Each = whole(o, span, cancel)
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	defer c.tellCrashes(s)
	signal.Ignore(syscall.SIGPIPE)
	stop, got := endBySignal(cancel)
	defer stop()
	defer restWhileStopped(s)()

	bar := c.progress(o, "measuring", "ctrl+c reports now", time.Now(), span)
	err = s.Run(ctx, func() {})
	bar.stop()
	var over *tooMuchMemory
	if err != nil && ctx.Err() == nil && !errors.As(err, &over) {
		return err
	}
	if over != nil {
		c.code = exitError
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.complain("%v", err) // something hung at the end; what was measured stands
	}
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}
	stop() // whoever reads the report may take their time, and then a signal is to end us

	r.Version = c.version
	var b bytes.Buffer
	if err := s.Report(&b, r); err != nil {
		return err
	}
	return c.deliver(b.Bytes(), output)
}

// whole ends a run at the snapshot that completes the span, so that 60 s are 60 s and not the 59 between
// sixty snapshots. Who calls it gives up an interval later.
func whole(o options, span time.Duration, end func()) (each func(*collectors.Snapshot)) {
	return func(s *collectors.Snapshot) {
		if o.Each != nil {
			o.Each(s)
		}
		if s.At >= span-o.Interval/10 {
			end()
		}
	}
}

// deliver writes a report to stdout or to a new file.
func (c *commands) deliver(report []byte, output string) error {
	if output == "" {
		_, err := c.stdout.Write(report)
		return readerLeft(err)
	}
	if err := writeNew(c.who, output, report); err != nil {
		// The minute is not to be lost with the file.
		_, e := c.stdout.Write(report)
		return errors.Join(err, readerLeft(e))
	}
	return nil
}

// completeFlags tells the shell what a flag of cmd can be.
func (c *commands) completeFlags(cmd *cobra.Command) error {
	var signed []string
	for _, p := range c.parts.probes {
		signed = append(signed, "+"+p, "-"+p)
	}
	for name, list := range map[string][]string{
		"theme": c.parts.themes, "color": colors(), "probes": signed, "format": formatsOf(cmd.Name()),
	} {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(slices.Clone(list), cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	return nil
}
