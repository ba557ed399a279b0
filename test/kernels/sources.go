// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mirrors returns the addresses of Debian archives that apt on this machine is told to use, in
// apt's order, each without a slash at its end. dir is /etc/apt. Which suites an address serves
// is not asked here: the suites of the matrix need not be configured, so all of them are tried.
func mirrors(dir string) ([]string, error) {
	files := []string{filepath.Join(dir, "sources.list")}
	parts, err := os.ReadDir(filepath.Join(dir, "sources.list.d"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading apt's sources: %w", err)
	}
	for _, p := range parts {
		files = append(files, filepath.Join(dir, "sources.list.d", p.Name()))
	}
	var all []string
	for _, name := range files {
		parse := parseList
		switch filepath.Ext(name) {
		case ".list":
		case ".sources":
			parse = parseSources
		default:
			continue
		}
		b, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt's sources: %w", err)
		}
		for _, u := range parse(string(b)) {
			if !slices.Contains(all, u) {
				all = append(all, u)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no Debian archive over http in %s: name one with -mirror", strings.Join(files, ", "))
	}
	return all, nil
}

// parseList reads the one-line format: deb [options] address suite component and more.
func parseList(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "deb" {
			continue
		}
		f = f[1:]
		if len(f) > 0 && strings.HasPrefix(f[0], "[") {
			end := slices.IndexFunc(f, func(s string) bool { return strings.HasSuffix(s, "]") })
			f = f[end+1:] // without an end nothing is skipped, and "[…" is no address
		}
		if len(f) >= 3 {
			all = append(all, debianOnly(f[:1], f[1:2], f[2:])...)
		}
	}
	return all
}

// parseSources reads the format of paragraphs, deb822.
func parseSources(text string) []string {
	var all []string
	// The only error is that of the reader, and a string has none but a line of 4 MiB.
	_ = eachStanza(strings.NewReader(text), "", func(s stanza) {
		if strings.EqualFold(s["enabled"], "no") || !slices.Contains(strings.Fields(s["types"]), "deb") {
			return
		}
		all = append(all, debianOnly(strings.Fields(s["uris"]), strings.Fields(s["suites"]), strings.Fields(s["components"]))...)
	})
	return all
}

// debianOnly drops the archives of others, which have no such suite or no component main, and
// what is not fetched over http.
func debianOnly(addresses, suites, components []string) []string {
	if !slices.Contains(components, "main") || !slices.ContainsFunc(suites, debianSuite) {
		return nil
	}
	var all []string
	for _, a := range addresses {
		if strings.HasPrefix(a, "http://") || strings.HasPrefix(a, "https://") {
			all = append(all, strings.TrimRight(a, "/"))
		}
	}
	return all
}

func debianSuite(suite string) bool {
	name, _, _ := strings.Cut(suite, "/") // buster/updates
	name, _, _ = strings.Cut(name, "-")   // bookworm-security
	return slices.Contains([]string{
		"bullseye", "bookworm", "trixie", "forky", "duke", "sid",
		"oldoldstable", "oldstable", "stable", "testing", "unstable",
	}, name)
}
