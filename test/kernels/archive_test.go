// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/test/kernels/wire"
)

const index61 = `Package: linux-image-6.1.0-9-cloud-amd64
Version: 6.1.99-1
Filename: pool/a.deb
SHA256: aa

Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.192-2
Filename: pool/b.deb
SHA256: bb

Package: linux-image-6.1.0-57-cloud-amd64-unsigned
Version: 6.1.193-1

Package: linux-image-6.1.0-57-rt-amd64
Version: 6.1.193-1

Package: linux-image-cloud-amd64
Version: 6.1.193-1

Package: linux-image-6.12.95+deb12-cloud-amd64
Version: 6.12.95-1~bpo12+1

Package: vim
Version: 99:6.1
`

const index7 = `Package: linux-image-7.2.12+deb13-cloud-amd64
Version: 7.2.12-1~bpo13+1
Depends: kmod, linux-binary-7.2.12+deb13-cloud-amd64 (= 7.2.12-1~bpo13+1)

Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)

Package: linux-binary-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1

Package: linux-modules-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
`

func TestNewestKernel(t *testing.T) {
	tests := map[string]struct{ text, series, want string }{
		"newest by number":       {index61, "6.1", "linux-image-6.1.0-56-cloud-amd64"},
		"6.1 is not 6.12":        {index61, "6.12", "linux-image-6.12.95+deb12-cloud-amd64"},
		"image in its own":       {index7, "7", "linux-binary-7.3.4+deb13-cloud-amd64"},
		"image in none":          {strings.SplitAfter(index7, "\n\n")[0], "7", "linux-image-7.2.12+deb13-cloud-amd64"},
		"no kernel of a series":  {index61, "5.10", ""},
		"no kernel":              {"", "7", ""},
		"same name, two entries": {index61 + "\nPackage: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-1\n", "6.1", "linux-image-6.1.0-56-cloud-amd64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			all, err := parsePackages(strings.NewReader(tt.text), index{})
			if err != nil {
				t.Fatal(err)
			}
			got, modules, ok := newestKernel(all, tt.series)
			if want := strings.Replace(tt.want, "binary", "modules", 1); modules.name != want {
				t.Errorf("newestKernel(%q) has modules in %q, want %q", tt.series, modules.name, want)
			}
			if got.name != tt.want || ok != (tt.want != "") {
				t.Errorf("newestKernel(%q) = %q, %v, want %q", tt.series, got.name, ok, tt.want)
			}
			if got.name == "linux-image-6.1.0-56-cloud-amd64" && got.version != "6.1.192-2" {
				t.Errorf("newestKernel took version %s, want the newer 6.1.192-2", got.version)
			}
		})
	}
}

func TestParsePackages(t *testing.T) {
	got, err := parsePackages(strings.NewReader(index61), index{archive: "http://m.example/debian", suite: "bookworm"})
	if err != nil {
		t.Fatal(err)
	}
	want := pkg{
		name: "linux-image-6.1.0-56-cloud-amd64", version: "6.1.192-2", suite: "bookworm",
		address: "http://m.example/debian/pool/b.deb", hash: "bb",
	}
	if d := cmp.Diff(want, got[want.name], cmp.AllowUnexported(pkg{})); d != "" {
		t.Errorf("parsePackages (-want +got):\n%s", d)
	}
	if _, ok := got["vim"]; ok {
		t.Error("parsePackages kept a package that is no part of the kernel")
	}
}

func TestParseRelease(t *testing.T) {
	const text = "Suite: oldstable-security\nCodename: bookworm-security\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/binary-amd64/Packages.xz\n" +
		"SHA256:\n 11 7 main/binary-amd64/Packages\n 22 9 main/binary-amd64/Packages.xz\n 33 9 contrib/binary-amd64/Packages.xz\n"
	tests := map[string]struct {
		text, suite string
		want        index
		wantErr     bool
	}{
		"by hash":       {text, "bookworm-security", index{suite: "bookworm-security", hash: "22", address: "main/binary-amd64/by-hash/SHA256/22"}, false},
		"by name":       {strings.Replace(text, "yes", "no", 1), "bookworm-security", index{suite: "bookworm-security", hash: "22", address: "main/binary-amd64/Packages.xz"}, false},
		"another suite": {text, "bookworm", index{}, true},
		"no index":      {"Codename: bookworm\n", "bookworm", index{}, true},
		"empty":         {"", "bookworm", index{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseRelease(tt.text, tt.suite)
			if (err != nil) != tt.wantErr {
				t.Fatalf("parseRelease: %v, want error %v", err, tt.wantErr)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(index{})); d != "" {
				t.Errorf("parseRelease (-want +got):\n%s", d)
			}
		})
	}
}

// signedMessage is a clear-signed text as gpg writes it; only its signature is no signature.
func signedMessage(text string) string {
	return "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + text +
		"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
}

func TestVerify(t *testing.T) {
	signed := "before: it\n" + signedMessage("Codename: sid\n- -dash: it\n")
	const unchecked = "Codename: sid\n-dash: it\n"
	tests := map[string]struct {
		gpgv     string // what gpgv does; "" is no gpgv
		noKeys   bool
		want     string
		wantErr  bool
		wantWarn string
	}{
		"good":             {gpgv: "echo '[GNUPG:] GOODSIG 1 Debian' >&2; echo signed", want: "signed\n"},
		"good and unknown": {gpgv: "echo '[GNUPG:] GOODSIG 1 D\n[GNUPG:] ERRSIG 2' >&2; echo signed; exit 2", want: "signed\n"},
		"bad":              {gpgv: "echo '[GNUPG:] BADSIG 1 Debian' >&2; echo signed; exit 1", wantErr: true},
		"good and bad":     {gpgv: "echo '[GNUPG:] GOODSIG 1 D\n[GNUPG:] BADSIG 2 D' >&2; echo signed; exit 1", wantErr: true},
		"no known key":     {gpgv: "echo '[GNUPG:] NO_PUBKEY 1' >&2; echo signed; exit 2", wantErr: true},
		"no gpgv":          {want: unchecked, wantWarn: "apt-get install gpgv"},
		"no keys":          {gpgv: "exit 1", noKeys: true, want: unchecked, wantWarn: "apt-get install debian-archive-keyring"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			if tt.gpgv != "" {
				writeFile(t, filepath.Join(dir, "gpgv"), "#!/bin/sh\n"+tt.gpgv+"\n")
			}
			var warned strings.Builder
			a := &archives{keyring: filepath.Join(dir, "keys"), warn: func(f string, v ...any) { fmt.Fprintf(&warned, f, v...) }}
			if !tt.noKeys {
				writeFile(t, a.keyring, "")
			}
			got, err := a.verify(t.Context(), []byte(signed))
			if got != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("verify = %q, %v, want %q, error %v", got, err, tt.want, tt.wantErr)
			}
			if !strings.Contains(warned.String(), tt.wantWarn) || tt.wantWarn == "" && warned.Len() > 0 {
				t.Errorf("verify warned %q, want %q", warned.String(), tt.wantWarn)
			}
		})
	}
}

func TestClearTextRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":      "",
		"not signed":   "Codename: sid\n",
		"no signature": "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nCodename: sid\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := clearText([]byte(text)); err == nil {
				t.Errorf("clearText(%q) = %q, want an error", text, got)
			}
		})
	}
}

// TestKernelFromArchive goes the whole way: two mirrors of which the second has the suite.
func TestKernelFromArchive(t *testing.T) {
	deb := arOf("data.tar", tarOf(t, "./boot/vmlinuz-6.1", "kernel",
		"./lib/modules/6.1/kernel/drivers/block/loop.ko", "module loop", "./lib/modules/6.1/kernel/fs/overlayfs/overlay.ko", "module overlay"))
	packages := xzipped(t, []byte("Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\nFilename: pool/k.deb\nSHA256: "+sum(deb)+"\n"))
	release := signedMessage("Codename: bookworm\nSHA256:\n " + sum(packages) + " 1 main/binary-amd64/Packages.xz\n")
	good := map[string]string{
		"/second/dists/bookworm/InRelease":                     release,
		"/second/dists/bookworm/main/binary-amd64/Packages.xz": string(packages),
		"/second/pool/k.deb":                                   string(deb),
	}
	tests := map[string]struct{ path, body, wantErr string }{
		"good":              {},
		"damaged index":     {"/second/dists/bookworm/main/binary-amd64/Packages.xz", "x", "the index says"},
		"damaged package":   {"/second/pool/k.deb", string(deb) + "x", "the index says"},
		"another's Release": {"/second/dists/bookworm/InRelease", strings.Replace(release, "bookworm", "sid", 1), `it is of "sid"`},
		"not signed":        {"/second/dists/bookworm/InRelease", "Codename: bookworm\n", "not a signed message"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, ok := good[r.URL.Path]
				if r.URL.Path == tt.path {
					body = tt.body
				}
				if !ok {
					http.NotFound(w, r)
					return
				}
				asked++
				fmt.Fprint(w, body)
			}))
			defer server.Close()
			dir := t.TempDir()
			f, err := newFetcher(dir)
			if err != nil {
				t.Fatal(err)
			}
			a := &archives{fetcher: f, keyring: filepath.Join(dir, "none"), warn: func(string, ...any) {}, mirrors: []string{server.URL + "/first", server.URL + "/second"}}
			k := kernel{"6.1", "6.1", []string{"bookworm", "bookworm-security"}}
			image := filepath.Join(dir, "vmlinuz")
			_, err = a.kernel(t.Context(), k, image)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("kernel: %v, want an error with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(image); err != nil || string(b) != "kernel" {
				t.Errorf("the image is %q, %v, want kernel", b, err)
			}
			for _, m := range wire.Modules() {
				if b, err := os.ReadFile(moduleOf(image, m)); err != nil || string(b) != "module "+m {
					t.Errorf("the module %s is %q, %v, want its own", m, b, err)
				}
			}
			// Once more: only the Release file is asked for. And without the mirror: not even that.
			asked = 0
			if _, err = a.kernel(t.Context(), k, image); err != nil || asked != 1 {
				t.Errorf("second time: %v, %d files fetched, want 1", err, asked)
			}
			writeFile(t, filepath.Join(dir, "sha256", sum(deb)), "damaged")
			if _, err = a.kernel(t.Context(), k, image); err != nil || asked != 3 {
				t.Errorf("with a damaged cache: %v, %d files fetched in all, want 3", err, asked)
			}
			server.Close()
			if _, err = a.kernel(t.Context(), k, image); err != nil {
				t.Errorf("without the mirror: %v", err)
			}
		})
	}
}

func TestParseProxies(t *testing.T) {
	p := parseProxies("Acquire::http::Proxy \"http://proxy.example:3142\";\nAcquire::http::Proxy::near.example \"DIRECT\";\nAcquire::https::Proxy \"\";\n")
	tests := map[string]struct{ address, want string }{
		"http":            {"http://m.example/debian", "http://proxy.example:3142"},
		"direct for host": {"http://near.example/debian", ""},
		"none for https":  {"https://m.example/debian", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.forURL(u)
			if err != nil || (got == nil) != (tt.want == "") || got != nil && got.String() != tt.want {
				t.Errorf("forURL(%s) = %v, %v, want %q", tt.address, got, err, tt.want)
			}
		})
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}
