// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands and puts the other packages together. It is the only one that
// knows the process: its arguments, environment, signals, terminal, files and exit code.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	// The import of theme comes before that of bubbletea in every path to it: see theme/early.go.
	_ "bpf60/theme"
)

// Exit codes. A signal n ends with 128+n.
const (
	exitDone     = 0
	exitError    = 1
	exitUsage    = 2
	exitInternal = 70 // EX_SOFTWARE of sysexits.h
	exitSignal   = 128
)

// world is what the process was given and what the commands are put together from. Main gives the
// real one, tests their own.
type world struct {
	args                  []string // without the program's name
	stdin, stdout, stderr *os.File
	env                   func(string) string
	who                   identity
	etc                   string // the system's configuration file
	version               string

	parts parts
}

// Main runs the command that the process was started with and returns the exit code.
func Main(version string) int {
	return run(&world{
		args:  os.Args[1:],
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		env:     os.Getenv,
		who:     whoami(os.Getenv),
		etc:     "/etc/bpf60/config.toml",
		version: version,
		parts:   builtin(),
	})
}

// run executes one command. A panic on this goroutine is an internal error; the dashboard has its
// own care for panics, because it has a terminal to put right first.
func run(w *world) (code int) {
	defer func() {
		if r := recover(); r != nil {
			w.complain("internal error: %v\n%s", r, debug.Stack())
			code = exitInternal
		}
	}()
	c := &commands{world: w}
	root := c.root()
	root.SetArgs(w.args)
	root.SetIn(w.stdin)
	out := &remembering{Writer: w.stdout}
	root.SetOut(out)
	root.SetErr(w.stderr)
	err := root.Execute()
	if err == nil {
		err = readerLeft(out.err) // of help, whose errors nobody returns
	}
	var usage *usageError
	switch {
	case err == nil:
		return c.code
	case errors.As(err, &usage):
		w.complain("%v", err)
		return exitUsage
	case errors.Is(err, errReaderLeft):
		return exitDone
	}
	w.complain("%v", err)
	return exitError
}

// remembering is a writer that keeps its first error.
type remembering struct {
	io.Writer
	err error
}

func (r *remembering) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// complain writes one message to stderr.
func (w *world) complain(format string, args ...any) {
	fmt.Fprintf(w.stderr, "bpf60: "+format+"\n", args...)
}

// usageError is a mistake of whoever typed the command. It names what would have been right.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

// oneOf is nil if got is among the valid ones, else a usage error that names them.
func oneOf(what, got string, valid []string) error {
	for _, v := range valid {
		if v == got {
			return nil
		}
	}
	return usagef("unknown %s %q: use %s", what, got, strings.Join(valid, ", "))
}
