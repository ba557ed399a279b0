// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// maxConfig bounds a configuration file; the documented one has two kilobytes.
const maxConfig = 256 << 10

// file is a configuration file. Its fields are pointers to tell "not there" from a zero.
type file struct {
	Interval *string             `toml:"interval"`
	Theme    *string             `toml:"theme"`
	Color    *string             `toml:"color"`
	ASCII    *bool               `toml:"ascii"`
	Mouse    *bool               `toml:"mouse"`
	Probes   []string            `toml:"probes"`
	Keys     map[string][]string `toml:"keys"`
}

// files applies the system's file, then the person's own or the named one.
func (c *commands) files(o *options, named string) error {
	root := identity{}
	if err := o.read(root, c.etc, &c.parts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Warnings = append(o.Warnings, err.Error())
	}
	if named != "" {
		return o.read(c.who, named, &c.parts)
	}
	path := c.who.userConfig(c.env)
	if path == "" {
		return nil
	}
	if err := o.read(c.who, path, &c.parts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Warnings = append(o.Warnings, err.Error())
	}
	return nil
}

// read applies one file with the rights of who. A file that cannot be trusted or read is an error
// and changes nothing; a key that is unknown or has an impossible value is a warning.
func (o *options) read(who identity, path string, p *parts) error {
	var data []byte
	err := who.do(func() (err error) {
		data, err = readTrusted(path, who.uid)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	warnings, err := o.parse(data, p)
	if err != nil {
		return fmt.Errorf("reading %s:%w", path, err)
	}
	for _, w := range warnings {
		o.Warnings = append(o.Warnings, path+":"+w)
	}
	return nil
}

// readTrusted reads a regular file that only root or uid can have written.
func readTrusted(path string, uid int) ([]byte, error) {
	// Non-blocking, or a FIFO in its place would hold us for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("it is not a regular file; it is ignored")
	case st.Uid != 0 && int(st.Uid) != uid:
		return nil, fmt.Errorf("it belongs to user %d and is ignored: chown it to yourself or root", st.Uid)
	case st.Mode&0o022 != 0:
		return nil, errors.New("others may write to it, so it is ignored: chmod go-w it")
	case st.Size > maxConfig:
		return nil, fmt.Errorf("it is larger than %d KiB and is ignored", maxConfig>>10)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return nil, cause(err)
	}
	return data, nil
}

// cause drops the path from an error of package os: the caller names it.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// parse applies the text of a file. Warnings and the error begin with the line.
func (o *options) parse(data []byte, p *parts) (warnings []string, err error) {
	var f file
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("%d: %s; the file is ignored", pe.Position.Line, pe.Message)
		}
		return nil, fmt.Errorf(" %w; the file is ignored", err)
	}
	for _, key := range meta.Undecoded() {
		warnings = append(warnings, fmt.Sprintf("%d: unknown key %q: use %s, [keys]",
			lineOf(data, key), key.String(), strings.Join(scalars(), ", ")))
	}
	set := func(key, value string) {
		if err := o.set(key, value, p); err != nil {
			warnings = append(warnings, fmt.Sprintf("%d: %s: %v", lineOf(data, toml.Key{key}), key, err))
		}
	}
	for key, value := range map[string]*string{"interval": f.Interval, "theme": f.Theme, "color": f.Color} {
		if value != nil {
			set(key, *value)
		}
	}
	if f.ASCII != nil {
		o.ASCII = *f.ASCII
	}
	if f.Mouse != nil {
		o.Mouse = *f.Mouse
	}
	if len(f.Probes) > 0 {
		set("probes", strings.Join(f.Probes, ","))
	}
	if len(f.Keys) > 0 {
		o.Keys = f.Keys
		if _, _, problems := p.keys(f.Keys); len(problems) > 0 {
			for _, e := range problems {
				warnings = append(warnings, fmt.Sprintf("%d: [keys]: %v", lineOf(data, toml.Key{"keys"}), e))
			}
		}
	}
	slices.Sort(warnings)
	return warnings, nil
}

// lineOf finds the line of a key, counted from 1; the decoder does not tell. It knows the forms
// "key =", "[table]" and a key below its table, which is all a file of ours can hold; anything
// else is line 1.
func lineOf(data []byte, key toml.Key) int {
	table, want := "", strings.Join(key, ".")
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if strings.HasPrefix(text, "[") {
			table = strings.Trim(text[:strings.LastIndex(text, "]")+1], "[] ")
			if table == want {
				return n
			}
			continue
		}
		name, _, ok := strings.Cut(text, "=")
		if !ok || strings.HasPrefix(text, "#") {
			continue
		}
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		if table != "" {
			name = table + "." + name
		}
		if name == want {
			return n
		}
	}
	return 1
}

func (c *commands) config() *cobra.Command {
	var print bool
	cmd := &cobra.Command{
		Use:   "config --print-default",
		Short: "print the default configuration, which is its own documentation",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !print {
				return usagef("config needs --print-default")
			}
			_, err := io.WriteString(cmd.OutOrStdout(), printDefault(&c.parts))
			return readerLeft(err)
		},
	}
	cmd.Flags().BoolVar(&print, "print-default", false, "print a file with every key and its default")
	return cmd
}

// printDefault is a configuration file that changes nothing and explains every key.
func printDefault(p *parts) string {
	d := defaults()
	quoted := func(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }
	return fmt.Sprintf(`# Configuration of bpf60. Every key is shown with its default; leave out what you do not change.
#
# Read from ~/.config/bpf60/config.toml (under sudo: of the user who ran sudo), over
# /etc/bpf60/config.toml. Flags come first, then the variable named at each key, then files.
# A file counts only if it belongs to you or root and nobody else may write to it.

# Time between two measurements: %v to %v. BPF60_INTERVAL
interval = "%v"

# Colours by meaning: %s. BPF60_THEME
theme = %q

# When to colour: %s.
# auto obeys NO_COLOR, CLICOLOR_FORCE, CLICOLOR, COLORTERM and TERM, in that order. BPF60_COLOR
color = %q

# Draw with ASCII characters only. Without a UTF-8 locale that happens by itself. BPF60_ASCII
ascii = %t

# Let clicks and the wheel work. Hold shift to select text with the mouse. BPF60_MOUSE
mouse = %t

# Probes to switch on and off, as in ["-runqlat"]. Names: %s. BPF60_PROBES (+a,-b)
probes = []

# Keys by id: the list replaces the default one. "bpf60 keys" lists the ids.
# ctrl+c always quits.
[keys]
# quit = ["q"]
`, minInterval, time.Duration(maxInterval), d.Interval, quoted(p.themes), d.Theme, quoted(colors()), d.Color,
		d.ASCII, d.Mouse, strings.Join(p.probes, ", "))
}
