// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// module is a file that programs run, and what its functions are called. It does not change.
type module struct {
	segments  []elfSegment
	functions functionTable
}

// at is the name of the function at an offset of the file. Where the name is not known, where is the
// address that tools such as addr2line take.
func (m *module) at(off uint64) (name string, where uint64, ok bool) {
	addr, ok := segmentAddress(m.segments, off)
	if !ok {
		return "", off, false
	}
	name, ok = m.functions.at(addr)
	return name, addr, ok
}

// readModule reads the functions of an ELF file, which may take room bytes: its symbols; of a stripped one those of its debug file, and
// what is left of its own. What cannot be read of it is left out.
func readModule(r io.ReaderAt, size uint64, room int, debug func(path string) (*elfFile, func())) (*module, error) {
	f, err := openELF(r, size)
	if err != nil {
		return nil, err
	}
	m := &module{segments: f.segments, functions: functionTable{room: room}}
	err = f.functions(elfSymbols, &m.functions)
	if len(m.functions.all) == 0 {
		if d, done := debug(f.debugPath()); d != nil {
			err = d.functions(elfSymbols, &m.functions)
			done()
		}
	}
	if len(m.functions.all) == 0 {
		err = errors.Join(err, f.functions(elfDynamic, &m.functions), f.goFunctions(&m.functions))
	}
	m.functions.sort()
	if len(m.functions.all) > 0 {
		err = nil
	}
	return m, err
}

// openRegular opens what a descriptor of O_PATH names, for reading, if it is a regular file: to open a
// device does things, and to open a pipe waits.
func openRegular(path int) (*os.File, *unix.Stat_t, error) {
	defer unix.Close(path)
	var st unix.Stat_t
	if err := unix.Fstat(path, &st); err != nil {
		return nil, nil, fmt.Errorf("looking at a mapped file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil, errNoELF
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", path), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a mapped file: %w", err)
	}
	return os.NewFile(uintptr(fd), "mapped file"), &st, nil
}

// openIn opens a file by its path as a process sees it, and follows no link out of there.
func (fs FS) openIn(pid int32, path string, flags, resolve uint64) (int, error) {
	root, err := unix.Open(fs.path(fs.dir(pid)+"/root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// openMapped opens the file behind a mapping: the very file, also when it was deleted or lies in another
// mount namespace; where that needs more rights, the one of that path. Either may be another by now, which
// would lend its names to all processes: it is taken only if the kernel calls it the same.
func (fs FS) openMapped(pid int32, m *mapping) (*os.File, *unix.Stat_t, error) {
	fd, err := unix.Open(fs.path(fmt.Sprintf("%s/map_files/%x-%x", fs.dir(pid), m.from, m.to)), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		fd, err = fs.openIn(pid, m.path, unix.O_PATH, 0)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening a mapped file: %w", err)
	}
	f, st, err := openRegular(fd)
	if err != nil {
		return nil, nil, err
	}
	dev, ino, err := mappedAs(f)
	if err == nil && (dev != m.dev || ino != m.ino) {
		err = fmt.Errorf("opening a mapped file: another is in its place: %w", os.ErrNotExist)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}

// mappedAs is what the kernel calls a file in maps, its device and number, by a mapping of our own that is
// never touched: on overlayfs and btrfs stat says something else.
func mappedAs(f *os.File) (dev string, ino uint64, err error) {
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE)
	if err != nil {
		return "", 0, fmt.Errorf("mapping a file: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "", 0, fmt.Errorf("reading our own maps: %w", err)
	}
	at := uint64(reflect.ValueOf(b).Pointer())
	for len(maps) > 0 {
		var line []byte
		line, maps = cutLine(maps)
		if m, _, ok := parseMapping(line); ok && at >= m.from && at < m.to {
			return m.dev, m.ino, nil
		}
	}
	return "", 0, fmt.Errorf("looking for a mapping of our own: %w", os.ErrNotExist)
}

// readMapped reads the functions of the file behind a mapping.
func (fs FS) readMapped(pid int32, m *mapping, room int) (*module, error) {
	if m.path == "[vdso]" {
		return readVDSO(m, room)
	}
	f, st, err := fs.openMapped(pid, m)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readModule(f, uint64(st.Size), room, openDebug)
}

// openDebug opens a debug file of the host; nil if there is none.
func openDebug(path string) (*elfFile, func()) {
	if path == "" {
		return nil, nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil
	}
	f, st, err := openRegular(fd)
	if err != nil {
		return nil, nil
	}
	d, err := openELF(f, uint64(st.Size))
	if err != nil {
		f.Close()
		return nil, nil
	}
	return d, func() { f.Close() }
}

// readVDSO reads the functions that the kernel maps into every process, from our own memory: they are the
// same for all of 64 bits.
func readVDSO(m *mapping, room int) (*module, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("reading our own maps: %w", err)
	}
	for _, own := range parseMaps(maps) {
		if own.path != m.path || own.to-own.from != m.to-m.from || m.to <= 1<<32 {
			continue
		}
		f, err := os.Open("/proc/self/mem")
		if err != nil {
			return nil, fmt.Errorf("opening our own memory: %w", err)
		}
		defer f.Close()
		b := make([]byte, own.to-own.from)
		if _, err := f.ReadAt(b, int64(own.from)); err != nil {
			return nil, fmt.Errorf("reading our own memory: %w", err)
		}
		return readModule(bytes.NewReader(b), uint64(len(b)), room, openDebug)
	}
	return nil, errNoELF
}

// maxPerfMap bounds a file of names that a process writes for the code that it makes.
const maxPerfMap = 16 << 20

// readPerfMap reads /tmp/perf-PID.map as the process sees it. It is read only if it is a regular file of
// the process's user or root that nobody else may write: anybody can put one there. What it names may take
// room bytes.
func (fs FS) readPerfMap(pid int32, room int) (*functionTable, error) {
	status, err := fs.readSome(fs.dir(pid)+"/status", 8192)
	if err != nil {
		return nil, err
	}
	inner, user, ok := statusOf(string(status))
	if !ok {
		return nil, fmt.Errorf("reading the status of process %d: %w", pid, errFormat)
	}
	fd, err := fs.openIn(pid, "tmp/perf-"+strconv.FormatUint(uint64(inner), 10)+".map", unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, fmt.Errorf("opening a perf map: %w", err)
	}
	f, st, err := openRegular(fd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Uid != user && st.Uid != 0 || st.Mode&unix.S_IWOTH != 0 || st.Size > maxPerfMap {
		return nil, fmt.Errorf("opening a perf map: %w", os.ErrPermission)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPerfMap))
	if err != nil {
		return nil, fmt.Errorf("reading a perf map: %w", err)
	}
	return parsePerfMap(b, room), nil
}

// statusOf is what a process is called by itself, and its user, of /proc/PID/status.
func statusOf(status string) (pid, user uint32, ok bool) {
	var found [2]bool
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		if len(f) == 0 {
			continue
		}
		var at int
		var text string
		switch name {
		case "NSpid": // in each namespace, its own last
			at, text = 0, f[len(f)-1]
		case "Uid": // real, effective, …
			at, text = 1, f[min(1, len(f)-1)]
		default:
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return 0, 0, false
		}
		found[at] = true
		if at == 0 {
			pid = uint32(n)
		} else {
			user = uint32(n)
		}
	}
	return pid, user, found == [2]bool{true, true}
}

// parsePerfMap reads lines of address, size and name, the numbers hexadecimal. The last line may be half
// written; others that are none are skipped. What they name may take room bytes.
func parsePerfMap(b []byte, room int) *functionTable {
	t := &functionTable{room: room}
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		where, rest := cutField(b[:end])
		length, rest := cutField(rest)
		b = b[end+1:]
		addr, ok := parseHex(bytes.TrimPrefix(where, []byte("0x")))
		size, good := parseHex(bytes.TrimPrefix(length, []byte("0x")))
		name := bytes.TrimSpace(rest)
		if ok && good && size > 0 && !t.add(addr, size, name[:min(len(name), maxNameBytes)]) {
			break
		}
	}
	slices.Reverse(t.all) // memory is used again: what was said last counts
	t.byAddress()
	return t
}
