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
)

func (c *commands) report() *cobra.Command {
	var (
		span    time.Duration
		output  string
		request reportRequest
	)
	cmd := &cobra.Command{
		Use:   "report [PANE...]",
		Short: "measure for a while and print a report",
		Long: `report measures without a screen and prints what it saw: the findings, what was ruled out, and
the panes, of which the named ones. Ctrl+c ends it early with the report of the time it had.`,
		Example: `  bpf60 report --brief > ticket.txt
  bpf60 report --for 10s --format json cpu`,
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
				o.Hold = c.parts.panes
			}
			if request.Brief && request.Format == "text" {
				o.Hold = nil // no pane is printed
			}
			return c.measure(o, span, output, request)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&span, "for", time.Minute, "`TIME` to measure")
	f.StringVar(&request.Format, "format", "text", "`FORMAT`: "+strings.Join(formats(), " or "))
	f.StringVar(&output, "output", "", "write to a new `FILE` instead of stdout")
	f.BoolVar(&request.Brief, "brief", false, "only the part for a ticket")
	return cmd
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
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	stop, got := endBySignal(cancel)
	defer stop()

	r.Started = time.Now()
	bar := c.progress(o, r.Started, span)
	err = s.Run(ctx, func() {})
	bar.stop()
	r.Ended = time.Now()
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.complain("%v", err) // something hung at the end; what was measured stands
	}
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}

	r.Version = c.version
	var b bytes.Buffer
	if err := s.Report(&b, r); err != nil {
		return err
	}
	if output == "" {
		_, err := c.stdout.Write(b.Bytes())
		return readerLeft(err)
	}
	if err := writeNew(c.who, output, b.Bytes()); err != nil {
		// The minute is not to be lost with the file.
		_, e := c.stdout.Write(b.Bytes())
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
		"theme": c.parts.themes, "color": colors(), "probes": signed, "format": formats(),
	} {
		if cmd.LocalNonPersistentFlags().Lookup(name) == nil && cmd.PersistentFlags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(slices.Clone(list), cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	return nil
}
