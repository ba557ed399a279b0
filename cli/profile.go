// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
	"bpf60/collectors"
	"bpf60/panes"
)

// leastProfile is the shortest profile: of less there are too few samples to say anything.
const leastProfile = time.Second

// profiler samples stacks for a while, or until the context ends.
type profiler interface {
	Run(ctx context.Context, span time.Duration) (*collectors.Profile, error)
}

// profileFormats are the formats of a profile.
func profileFormats() []string { return []string{"folded", "svg", "pprof"} }

func (c *commands) profile() *cobra.Command {
	var (
		span           time.Duration
		format, output string
	)
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "sample what the CPUs run, for a flame graph",
		Long: `profile samples the stacks of what the CPUs run, in the kernel and in user space, 99 times a
second (49 on more than 64 CPUs), and writes how often each was seen. Ctrl+c ends it early with
what it had.`,
		Example: `  bpf60 profile --for 10s > stacks.folded
  bpf60 profile --pid 812 --format svg --output flame.svg
  bpf60 profile --format pprof > cpu.pb.gz && go tool pprof -top cpu.pb.gz`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			if err := oneOf("format", format, profileFormats()); err != nil {
				return err
			}
			if span < leastProfile {
				return usagef("--for %v is shorter than a profile can be: use %v or more", span, leastProfile)
			}
			if format == "pprof" && output == "" && term.IsTerminal(c.stdout.Fd()) {
				return usagef("--format pprof is no text, and stdout is a terminal: add --output FILE")
			}
			return c.sample(o, span, format, output)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&span, "for", 30*time.Second, "`TIME` to sample")
	f.StringVar(&format, "format", profileFormats()[0], "`FORMAT`: "+strings.Join(profileFormats(), ", "))
	f.StringVar(&output, "output", "", "write to a new `FILE` instead of stdout")
	return cmd
}

// sample profiles and writes what it saw.
func (c *commands) sample(o options, span time.Duration, format, output string) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	if output != "" {
		if err := canWrite(c.who, output); err != nil {
			return err
		}
	}
	p, err := c.parts.profile(&o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signal.Ignore(syscall.SIGPIPE)
	stop, got := endBySignal(cancel)
	defer stop()
	bar := c.progress(o, "sampling", "ctrl+c writes now", time.Now(), span)
	prof, err := p.Run(ctx, span)
	bar.stop()
	if err != nil {
		return withRemedy(err)
	}
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}
	var b bytes.Buffer
	if err := writeProfile(&b, prof, format, o.Scope); err != nil {
		return err
	}
	if prof.Refused != nil {
		c.complain("not all CPUs were sampled: %v", withRemedy(prof.Refused))
	}
	if prof.TooMany != nil {
		c.complain("not all cgroups were sampled: %v", prof.TooMany)
	}
	if need := prof.NoKernelNames; need != nil {
		c.complain("no names of kernel functions: needs %s: %s", need.Need, need.Remedy)
	}
	err = c.deliver(b.Bytes(), output)
	c.complain("%s", panes.ProfileSummary(prof))
	return err
}

func writeProfile(w io.Writer, p *collectors.Profile, format string, of panes.Scope) error {
	switch format {
	case "svg":
		return panes.SVG(w, p, hostName(), of)
	case "pprof":
		return panes.Pprof(w, p)
	}
	return panes.Folded(w, p)
}

// hostName is this host's name; empty if it does not say.
func hostName() collectors.Safe {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return collectors.Safe{}
	}
	return collectors.Clean(collectors.RawString(unix.ByteSliceToString(u.Nodename[:])))
}

// withRemedy is an error of package bpf with what would help, where it knows that.
func withRemedy(err error) error {
	var need *bpf.NeedError
	if errors.As(err, &need) {
		return fmt.Errorf("%w: %s", err, need.Remedy)
	}
	return err
}
