// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// errNotThere says that a server answered and has no such file.
var errNotThere = errors.New("not there")

// fetcher downloads over http and keeps what has a known hash under that hash.
type fetcher struct {
	client *http.Client
	dir    string // outside the tree
}

func newFetcher(dir string) (*fetcher, error) {
	if err := os.MkdirAll(filepath.Join(dir, "sha256"), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	byApt := aptProxies()
	return &fetcher{
		dir: dir,
		client: &http.Client{Transport: &http.Transport{
			Proxy: func(r *http.Request) (*url.URL, error) {
				if u, err := http.ProxyFromEnvironment(r); u != nil || err != nil {
					return u, err
				}
				return byApt.forURL(r.URL)
			},
			ResponseHeaderTimeout: 30 * time.Second,
		}},
	}, nil
}

// proxies is apt's own proxy setting: "http", or "http::deb.example" for one host.
type proxies map[string]string

// aptProxies asks apt; without apt there are none.
func aptProxies() proxies {
	out, err := exec.Command("apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy").Output()
	if err != nil {
		return nil
	}
	return parseProxies(string(out))
}

func parseProxies(dump string) proxies {
	p := proxies{}
	for line := range strings.Lines(dump) {
		name, value, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), ";"), " ")
		scheme, host, isProxy := strings.Cut(strings.ToLower(strings.TrimPrefix(name, "Acquire::")), "::proxy")
		if value = strings.Trim(value, `"`); ok && isProxy && value != "" {
			p[scheme+host] = value
		}
	}
	return p
}

func (p proxies) forURL(u *url.URL) (*url.URL, error) {
	value, ok := p[u.Scheme+"::"+u.Hostname()]
	if !ok {
		value = p[u.Scheme]
	}
	if value == "" || strings.EqualFold(value, "DIRECT") || value == "false" {
		return nil, nil
	}
	return url.Parse(value)
}

// get returns a small file that is not cached.
func (f *fetcher) get(ctx context.Context, address string) ([]byte, error) {
	body, err := f.open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", address, err)
	}
	return b, nil
}

// file returns the path of a file with this SHA-256, from the cache or from address. The hash is
// computed each time, so a damaged cache mends itself.
func (f *fetcher) file(ctx context.Context, address, hash string) (string, error) {
	path := filepath.Join(f.dir, "sha256", hash)
	if len(hash) != 2*sha256.Size || strings.ContainsAny(hash, "/.") {
		return "", fmt.Errorf("fetching %s: %q is no SHA-256", address, hash)
	}
	if got, err := hashFile(path); err == nil && got == hash {
		return path, nil
	}
	body, err := f.open(ctx, address)
	if err != nil {
		return "", err
	}
	defer body.Close()
	tmp, err := os.CreateTemp(filepath.Dir(path), "part-*")
	if err != nil {
		return "", fmt.Errorf("writing the cache: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, sum), body)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return "", fmt.Errorf("fetching %s: %w", address, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != hash {
		return "", fmt.Errorf("fetching %s: its SHA-256 is %s, the index says %s", address, got, hash)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("writing the cache: %w", err)
	}
	return path, nil
}

func (f *fetcher) open(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", address, err)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err) // names method and address
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone {
			return nil, fmt.Errorf("fetching %s: %w", address, errNotThere)
		}
		return nil, fmt.Errorf("fetching %s: %s", address, res.Status)
	}
	return res.Body, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
