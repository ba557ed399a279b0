// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands is the command line: flags as they were given, and the code to exit with.
type commands struct {
	*world
	flags flags
	code  int // when no error is returned: 0 or 128 + signal
}

func (c *commands) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bpf60",
		Short: "what is wrong with this Linux host, within 60 seconds",
		Long: `bpf60 shows within 60 seconds which resource of this host is short, who is the cause,
and what the evidence is. Without a command it opens the live dashboard, or prints one plain
line a tick if stdout is not a terminal.`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		CompletionOptions:  cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneOf("command", args[0], names(cmd))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.dashboard(cmd) },
	}
	root.AddCommand(c.report(), c.record(), c.replay(), c.profile(), c.doctor(), c.config(), c.keys(), c.completion(), c.versionCmd())
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help-command"})
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(usage)
	root.PersistentFlags().BoolP("help", "h", false, "show this help")
	for _, cmd := range append(root.Commands(), root) {
		c.flags.common(cmd.Flags(), c.parts.themes, meaningful(cmd.Name()))
		if err := c.completeFlags(cmd); err != nil {
			panic(err) // a flag is named here that is not there
		}
	}
	return root
}

// names are the commands a user can type.
func names(cmd *cobra.Command) []string {
	var out []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			out = append(out, sub.Name())
		}
	}
	return out
}

// flagError turns pflag's messages into one line that names the flags there are.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usagef("%v", err)
	}
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, "--"+f.Name)
		}
	})
	name := strings.TrimPrefix(err.Error(), "unknown flag: ")
	if s, _, ok := strings.Cut(strings.TrimPrefix(err.Error(), "unknown shorthand flag: "), " in "); ok {
		name = "-" + strings.Trim(s, "'")
	}
	if cmd.Root().Flags().Lookup(strings.TrimPrefix(name, "--")) != nil {
		return usagef("%s takes no %s: use %s", cmd.CommandPath(), name, strings.Join(flags, ", "))
	}
	return usagef("unknown flag %s: use %s", name, strings.Join(flags, ", "))
}

// noArgs refuses positional arguments in the words of the other usage errors.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, not %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// usage writes what a command takes. It is no template: that package looks up methods by name, and then
// the linker has to keep every method that there is, a sixth of the program.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n\ncommands:")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "\n  %-12s%s", sub.Name(), sub.Short)
			}
		}
	}
	part := func(title, text string) {
		if text = strings.TrimRightFunc(text, unicode.IsSpace); text != "" {
			fmt.Fprintf(&b, "\n\n%s:\n%s", title, text)
		}
	}
	part("examples", cmd.Example)
	part("flags", cmd.Flags().FlagUsages())
	b.WriteString("\n\n")
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}
