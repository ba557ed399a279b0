// SPDX-License-Identifier: Apache-2.0

// Command kernels runs bpf60 and its BPF tests in every kernel it promises to work on: Debian's
// own, booted in QEMU with an initramfs of nothing but our static binaries.
//
//	go run ./test/kernels        from the root of the repository
//
// It needs qemu-system-x86 and xz-utils, and checks signatures where gpgv and
// debian-archive-keyring are installed. Kernels come from the Debian mirror that apt is told to
// use, and are kept by their hash in the user's cache. A kernel that cannot be had, or did not
// come to the end of its plan, fails the run: it is never left out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bpf60/test/kernels/wire"
)

// expectPath is the checked-in table, from the root of the repository.
const expectPath = "test/kernels/expected.txt"

type options struct {
	update bool
	jobs   int
	limit  time.Duration
	mirror string
	only   string
	cache  string
}

func main() {
	var o options
	flag.BoolVar(&o.update, "update", false, "write what was seen to "+expectPath)
	flag.IntVar(&o.jobs, "jobs", min(runtime.NumCPU(), 2), "guests at a time; each uses one CPU")
	flag.DurationVar(&o.limit, "limit", 30*time.Minute, "time for one boot")
	flag.StringVar(&o.mirror, "mirror", "", "addresses of Debian archives, by comma, instead of apt's")
	flag.StringVar(&o.only, "only", "", "one kernel by its name; the run fails all the same, as the others did not run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := matrixRun(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to undo
	}
}

func matrixRun(ctx context.Context, o options) error {
	start := time.Now()
	for tool, debian := range map[string]string{qemu: "qemu-system-x86", "xz": "xz-utils"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("there is no %s: apt-get install %s", tool, debian)
		}
	}
	text, err := os.ReadFile(expectPath)
	if err != nil {
		return fmt.Errorf("reading the table of expectations (run this in the repository's root): %w", err)
	}
	expected, err := parseExpectation(string(text))
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache: %w", err)
	}
	o.cache = filepath.Join(cache, "bpf60", "kernels")

	m := &runner{options: o}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(m.dir)
	m.bootAll(ctx)

	ran, passed, skipped, flakes := 0, 0, 0, m.flakes
	for _, c := range m.columns {
		c.sound()
		if c.ran && !o.update {
			expected.check(c)
		}
		if c.ran {
			ran++
		}
		passed, skipped, flakes = passed+c.passed, skipped+len(c.skipped), flakes+len(c.flaked)
	}
	if err := printTable(os.Stdout, m.columns); err != nil {
		return err
	}
	fmt.Println()
	bad := false
	for _, c := range m.columns {
		for _, name := range slices.Sorted(maps.Keys(c.skipped)) {
			fmt.Printf("SKIP %s: %s\n", c.kernel.name, name)
		}
		for _, name := range c.flaked {
			fmt.Printf("FLAKE %s: %s\n", c.kernel.name, name)
		}
		for _, f := range c.failures {
			bad = true
			fmt.Printf("FAIL %s: %s\n", c.kernel.name, f)
		}
	}
	fmt.Printf("matrix %d/%d, %d tests passed, %d skipped, %d flakes, %v\n",
		ran, len(matrix()), passed, skipped, flakes, time.Since(start).Round(time.Second))
	switch {
	case ran != len(matrix()):
		return fmt.Errorf("only %d of %d kernels ran", ran, len(matrix()))
	case o.update:
		if err := os.WriteFile(expectPath, []byte(expected.update(m.columns)), 0o644); err != nil {
			return fmt.Errorf("writing the table of expectations: %w", err)
		}
		fmt.Println("wrote", expectPath, "- read what changed in it")
	}
	if bad {
		return errors.New("not as expected: see FAIL above; the kernels' logs are in " + filepath.Join(o.cache, "logs"))
	}
	return nil
}

// runner holds one run of the matrix.
type runner struct {
	options
	dir     string               // for this run only
	initrds map[string]string    // by boot
	plans   map[string]wire.Plan // by boot
	columns []*column
	images  []string // vmlinuz, beside columns; "" where it could not be had

	mu     sync.Mutex // guards what follows
	flakes int
	warned map[string]bool
}

// say prints one line of progress. A line that was said is not said again.
func (m *runner) say(format string, a ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := fmt.Sprintf(format, a...)
	if !m.warned[line] {
		m.warned[line] = true
		fmt.Fprintln(os.Stderr, line)
	}
}

// prepare builds for the guests and fetches the kernels at the same time: one waits for the CPU,
// the other for the network.
func (m *runner) prepare(ctx context.Context) (err error) {
	m.warned = map[string]bool{}
	if m.dir, err = os.MkdirTemp("", "bpf60-kernels-"); err != nil {
		return fmt.Errorf("making a folder for this run: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(m.dir)
		}
	}()
	var wg sync.WaitGroup
	var buildErr, fetchErr error
	wg.Go(func() { buildErr = m.build(ctx) })
	wg.Go(func() { fetchErr = m.fetch(ctx) })
	wg.Wait()
	return errors.Join(buildErr, fetchErr)
}

func (m *runner) build(ctx context.Context) error {
	files, err := build(ctx, suites())
	if err != nil {
		return err
	}
	m.plans = map[string]wire.Plan{}
	plans := map[string][]byte{}
	for _, b := range boots() {
		m.plans[b.name] = plan(b, suites())
		if plans[b.name], err = json.Marshal(m.plans[b.name]); err != nil {
			return fmt.Errorf("writing the plan of a boot: %w", err)
		}
	}
	m.initrds, err = writeInitrds(m.dir, files, plans)
	return err
}

// fetch gets every kernel. One that cannot be had fails its column, not the run of the others.
func (m *runner) fetch(ctx context.Context) error {
	f, err := newFetcher(m.cache)
	if err != nil {
		return err
	}
	a := &archives{fetcher: f, keyring: debianKeys, warn: m.say}
	if a.mirrors, err = mirrors("/etc/apt"); m.mirror != "" {
		a.mirrors, err = strings.Split(m.mirror, ","), nil
	}
	if err != nil {
		return err
	}
	for _, k := range matrix() {
		c := &column{kernel: k, probes: map[at]probe{}, skipped: map[string]bool{}}
		m.columns = append(m.columns, c)
		m.images = append(m.images, "")
		if m.only != "" && m.only != k.name {
			continue
		}
		image := filepath.Join(m.dir, "vmlinuz-"+k.name)
		if c.pkg, err = a.kernel(ctx, k, image); err != nil {
			c.fail("it cannot be had: %v", err)
			continue
		}
		m.images[len(m.images)-1] = image
		m.say("%-5s %s %s, from %s", k.name, c.pkg.name, c.pkg.version, c.pkg.suite)
	}
	return ctx.Err()
}

// bootAll boots every kernel in every way, a few at a time, and judges what they gave. The boots that take
// longest come first, so that none of them is alone at the end.
func (m *runner) bootAll(ctx context.Context) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(m.jobs, 1)) // its size is the number of guests
	outcomes := make([][]outcome, len(m.columns))
	for j, b := range boots() {
		for i, c := range m.columns {
			if c.ran = m.images[i] != ""; !c.ran {
				continue
			}
			if outcomes[i] == nil {
				outcomes[i] = make([]outcome, len(boots()))
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				outcomes[i][j] = m.boot(ctx, c.kernel.name, m.images[i], b)
			})
		}
	}
	wg.Wait()
	for i, c := range m.columns {
		for _, o := range outcomes[i] {
			c.take(o, m.plans[o.boot.name])
		}
	}
}

func (m *runner) boot(ctx context.Context, kernel, image string, b boot) outcome {
	keep := func(o outcome, suffix string) {
		if err := keepLog(m.cache, kernel+"-"+b.name+suffix, o); err != nil {
			m.say("%v", err)
		}
	}
	initrd := m.initrds[b.name]
	if b.suites {
		initrd = image + "-" + b.name + ".initrd"
		if err := withModules(m.initrds[b.name], image, initrd); err != nil {
			return outcome{boot: b, err: err}
		}
		defer os.Remove(initrd)
	}
	o := again(ctx, image, initrd, b, m.limit, func(o outcome) {
		m.say("%-5s boot %s: %v; trying once more", kernel, b.name, o.err)
		keep(o, "-flake")
		m.mu.Lock()
		m.flakes++
		m.mu.Unlock()
	})
	m.say("%-5s boot %s: init after %.1f s, end after %.1f s", kernel, b.name, o.started.Seconds(), o.took.Seconds())
	keep(o, "")
	return o
}

// keepLog writes how long each step took and what the kernel said in a boot where a developer finds it.
func keepLog(cache, name string, o outcome) error {
	dir := filepath.Join(cache, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keeping the kernel's log: %w", err)
	}
	text := "--- steps ---\n" + o.steps() + "\n--- console ---\n" + o.console + "\n--- /dev/kmsg ---\n" + strings.Join(o.log, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, name+".log"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("keeping the kernel's log: %w", err)
	}
	return nil
}
