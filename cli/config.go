// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bpf60/triage"
)

// maxConfig bounds a configuration file; the documented one has two kilobytes.
const maxConfig = 256 << 10

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
	var print, markdown bool
	cmd := &cobra.Command{
		Use:   "config --print-default",
		Short: "print the default configuration, which is its own documentation",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := ""
			switch {
			case markdown:
				text = triage.Markdown()
			case print:
				text = printDefault(&c.parts)
			default:
				return usagef("config needs --print-default")
			}
			_, err := io.WriteString(cmd.OutOrStdout(), text)
			return readerLeft(err)
		},
	}
	cmd.Flags().BoolVar(&print, "print-default", false, "print a file with every key and its default")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the table of the findings in the README")
	return cmd
}
