// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"bpf60/test/kernels/wire"
)

// debianKeys holds the keys of Debian's archive; its package is debian-archive-keyring.
const debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// index is the list of packages of one suite of one archive.
type index struct {
	archive string // address of the archive
	suite   string
	hash    string // SHA-256 of Packages.xz, from the Release file
	address string // of Packages.xz
}

// pkg is what the matrix needs to know of a package.
type pkg struct {
	name, version, depends string
	suite                  string
	address, hash          string // of the .deb
}

// archives finds suites on the mirrors.
type archives struct {
	*fetcher
	mirrors []string
	keyring string
	warn    func(format string, a ...any)
}

// suite returns the index of a suite from the first mirror that has it.
func (a *archives) suite(ctx context.Context, suite string) (index, error) {
	var errs []error
	for _, m := range a.mirrors {
		text, err := a.release(ctx, m+"/dists/"+suite+"/InRelease")
		if err == nil {
			var ix index
			if ix, err = parseRelease(text, suite); err == nil {
				ix.archive = m
				ix.address = m + "/dists/" + suite + "/" + ix.address
				return ix, nil
			}
		}
		errs = append(errs, err)
	}
	return index{}, errors.Join(errs...)
}

// release returns the text of an InRelease file after its signature was checked. When the mirror
// does not answer, the copy of the last run will do: everything it names is still known by hash.
func (a *archives) release(ctx context.Context, address string) (string, error) {
	kept := filepath.Join(a.dir, url.PathEscape(address))
	signed, err := a.get(ctx, address)
	fresh := err == nil
	if errors.Is(err, errNotThere) {
		return "", err
	}
	if err != nil {
		b, e := os.ReadFile(kept)
		if e != nil {
			return "", err
		}
		a.warn("%v; using the index of the last run", err)
		signed = b
	}
	text, err := a.verify(ctx, signed)
	if err != nil {
		return "", fmt.Errorf("checking %s: %w", address, err)
	}
	if fresh {
		if err := os.WriteFile(kept, signed, 0o644); err != nil {
			a.warn("keeping %s: %v", address, err)
		}
	}
	return text, nil
}

// verify returns the text that a key of Debian has signed. Without gpgv or keys it returns the
// text unchecked and says so.
func (a *archives) verify(ctx context.Context, signed []byte) (string, error) {
	if _, err := os.Stat(a.keyring); err != nil {
		a.warn("signatures are not checked: %s is missing (apt-get install debian-archive-keyring)", a.keyring)
		return clearText(signed)
	}
	gpgv, err := exec.LookPath("gpgv")
	if err != nil {
		a.warn("signatures are not checked: there is no gpgv (apt-get install gpgv)")
		return clearText(signed)
	}
	cmd := exec.CommandContext(ctx, gpgv, "--keyring", a.keyring, "--status-fd", "2", "--output", "-")
	cmd.Stdin = bytes.NewReader(signed)
	var out, status bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &status
	// The exit code is no help: it is an error if one of several signatures has a newer key.
	err = cmd.Run()
	if s := status.String(); !strings.Contains(s, "[GNUPG:] GOODSIG ") || strings.Contains(s, "[GNUPG:] BADSIG ") {
		return "", fmt.Errorf("no good signature by a key in %s: %w\n%s", a.keyring, err, strings.TrimSpace(s))
	}
	return out.String(), nil // what was signed, and nothing around it
}

// clearText takes the text out of a clear-signed message (RFC 9580, section 7).
func clearText(signed []byte) (string, error) {
	_, rest, ok := strings.Cut(string(signed), "-----BEGIN PGP SIGNED MESSAGE-----\n")
	_, rest, ok2 := strings.Cut(rest, "\n\n")
	text, _, ok3 := strings.Cut(rest, "\n-----BEGIN PGP SIGNATURE-----")
	if !ok || !ok2 || !ok3 {
		return "", errors.New("not a signed message")
	}
	return strings.TrimPrefix(strings.ReplaceAll("\n"+text, "\n- ", "\n"), "\n") + "\n", nil
}

// parseRelease finds the package index in the text of a Release file. Its address is relative.
func parseRelease(text, suite string) (index, error) {
	const name = "main/binary-amd64/Packages.xz"
	var found *index
	var about string
	err := eachStanza(strings.NewReader(text), "", func(s stanza) {
		about = s["codename"]
		for line := range strings.Lines(s["sha256"]) {
			if f := strings.Fields(line); len(f) == 3 && f[2] == name {
				found = &index{suite: suite, hash: f[0], address: name}
				if s["acquire-by-hash"] == "yes" { // no race with a mirror that is being updated
					found.address = "main/binary-amd64/by-hash/SHA256/" + f[0]
				}
			}
		}
	})
	switch {
	case err != nil:
		return index{}, err
	case about != suite:
		return index{}, fmt.Errorf("reading the Release file of %s: it is of %q", suite, about)
	case found == nil:
		return index{}, fmt.Errorf("reading the Release file of %s: it has no %s", suite, name)
	}
	return *found, nil
}

// packages returns all packages of an index whose name begins with linux-.
func (a *archives) packages(ctx context.Context, ix index) (map[string]pkg, error) {
	path, err := a.file(ctx, ix.address, ix.hash)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", ix.suite, err)
	}
	defer f.Close()
	text, err := xz(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", ix.suite, err)
	}
	all, err := parsePackages(text, ix)
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", ix.suite, err)
	}
	return all, nil
}

// parsePackages keeps the newest of several versions.
func parsePackages(r io.Reader, ix index) (map[string]pkg, error) {
	all := map[string]pkg{}
	err := eachStanza(r, "Package: linux-", func(s stanza) {
		p := pkg{
			name: s["package"], version: s["version"], depends: s["depends"], suite: ix.suite,
			address: ix.archive + "/" + s["filename"], hash: s["sha256"],
		}
		if old, ok := all[p.name]; !ok || compareVersions(p.version, old.version) > 0 {
			all[p.name] = p
		}
	})
	return all, err
}

// isImage matches the signed cloud kernels: small, and built for guests. Not -rt-, not -dbg.
var isImage = regexp.MustCompile(`^linux-image-[0-9][^-]*(-[0-9][^-]*)?-cloud-amd64$`)

// isBinary matches the package that holds the image where linux-image only depends on it.
var isBinary = regexp.MustCompile(`\blinux-binary-[0-9]\S*-cloud-amd64\b`)

// isModules matches the package that holds the modules where linux-image only depends on it.
var isModules = regexp.MustCompile(`\blinux-modules-[0-9]\S*-cloud-amd64\b`)

// newestKernel chooses the newest kernel of a series ("6.1", or "7" for all of 7.x), and returns
// the packages that hold its vmlinuz and its modules.
func newestKernel(all map[string]pkg, series string) (image, modules pkg, ok bool) {
	var best pkg
	for name, p := range all {
		if isImage.MatchString(name) && strings.HasPrefix(p.version, series+".") &&
			(best.name == "" || compareVersions(p.version, best.version) > 0) {
			best = p
		}
	}
	image, modules = best, best
	if b, ok := all[isBinary.FindString(best.depends)]; ok {
		image = b
	}
	if m, ok := all[isModules.FindString(best.depends)]; ok {
		modules = m
	}
	return image, modules, best.name != ""
}

// kernel writes the image of the newest kernel of k to a file, and the modules that the tests need to
// others beside it, named by moduleOf.
func (a *archives) kernel(ctx context.Context, k kernel, image string) (pkg, error) {
	all := map[string]pkg{}
	var errs []error
	for _, s := range k.suites {
		ix, err := a.suite(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found, err := a.packages(ctx, ix)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for name, p := range found {
			if compareVersions(p.version, all[name].version) > 0 {
				all[name] = p
			}
		}
	}
	p, modules, ok := newestKernel(all, k.series)
	if !ok {
		return p, errors.Join(append(errs, fmt.Errorf("no linux-image-%s.…-cloud-amd64 in %s", k.series, strings.Join(k.suites, ", ")))...)
	}
	if len(errs) > 0 {
		a.warn("%s: an older kernel than there may be: %v", k.name, errors.Join(errs...))
	}
	errs = []error{a.extract(ctx, p, isVmlinuz, image)}
	for _, m := range wire.Modules() {
		errs = append(errs, a.extract(ctx, modules, isModule(m), moduleOf(image, m)))
	}
	return p, errors.Join(errs...)
}

// moduleOf is where a module lies that belongs to a kernel image.
func moduleOf(image, module string) string { return image + "-" + module + ".ko" }

// extract writes the first file of a package whose name is wanted.
func (a *archives) extract(ctx context.Context, p pkg, wanted func(name string) bool, to string) error {
	deb, err := a.file(ctx, p.address, p.hash)
	if err != nil {
		return err
	}
	b, err := fileOf(ctx, deb, wanted)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		return fmt.Errorf("writing a part of a kernel: %w", err)
	}
	return nil
}
