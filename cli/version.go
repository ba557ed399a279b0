// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"bpf60/keymap"
)

func (c *commands) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "bpf60 %s %s %s/%s\n",
				c.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return readerLeft(err)
		},
	}
}

func (c *commands) keys() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "list the keys, with what the configuration changed",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			for _, w := range o.Warnings {
				c.complain("%s", w)
			}
			sections, _ := c.parts.keys(o.Keys) // the problems are among the warnings
			table := keymap.Text(sections...)
			if markdown {
				table = keymap.Markdown(sections...)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), table)
			return readerLeft(err)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the table of the README")
	return cmd
}
