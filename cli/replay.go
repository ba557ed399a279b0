// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bpf60/collectors"
)

func (c *commands) replay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay FILE",
		Short: "the dashboard over a recording, on any machine and without privileges",
		Long: `replay shows a recording as it was seen: every pane, key and report. It begins at the end;
← and → step through the time, space plays it.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			r, done, err := c.openRecording(args[0])
			if err != nil {
				return err
			}
			defer done()
			known := r.Cut()
			o.Replay = r
			err = c.show(o)
			c.damaged(args[0], r, known)
			return err
		},
	}
}

// openRecording opens a recording; done frees it. That the file was cut is told on stderr.
func (c *commands) openRecording(path string) (r *collectors.Replay, done func(), err error) {
	var f *os.File
	err = c.who.do(func() (err error) {
		// Non-blocking, or a FIFO would hold us for ever.
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the recording: %w", err)
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = fmt.Errorf("opening the recording: %s is no regular file: name one that bpf60 record wrote", path)
	default:
		r, err = collectors.OpenReplay(f, st.Size())
		if err != nil {
			err = fmt.Errorf("opening %s: %w", path, err)
		}
	}
	if err == nil {
		if _, ok := r.Span(); !ok {
			r.Close()
			err = fmt.Errorf("opening %s: no whole block of samples is in it: it was cut in its first ten seconds: record for longer", path)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if cut := r.Cut(); cut != nil {
		c.complain("%s ends early, its whole part is used: %v", path, cut)
	}
	return r, func() { r.Close(); f.Close() }, nil
}

// damaged tells of a block that cannot be read, which only reading shows; known is what opening found.
func (c *commands) damaged(path string, r *collectors.Replay, known error) {
	if cut := r.Cut(); cut != nil && known == nil {
		c.complain("%s is damaged, what comes before is used: %v", path, cut)
	}
}

// reportFrom writes the report of a recording.
func (c *commands) reportFrom(o options, path, output string, r reportRequest) error {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	rec, done, err := c.openRecording(path)
	if err != nil {
		return err
	}
	defer done()
	if output != "" {
		if err := canWrite(c.who, output); err != nil {
			return err
		}
	}
	known := rec.Cut()
	o.Replay = rec
	s, err := c.parts.open(o)
	if err != nil {
		return err
	}
	defer c.tellCrashes(s)
	if err := s.Run(context.Background(), func() {}); err != nil {
		return err
	}
	c.damaged(path, rec, known)
	r.Version = rec.Header().Version
	var b bytes.Buffer
	if err := s.Report(&b, r); err != nil {
		return err
	}
	return c.deliver(b.Bytes(), output)
}
