// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Function is the kernel's function at an address: its first address, the one after its last, its name and
// that of its module. Without a name there is none at that address, or one of a name that is too long.
type Function struct {
	Addr, From, To uint64
	Name, Module   string
}

// Functions calls each with the function that holds each address, in the order of addrs. It takes a
// millisecond, and some more for each thousand; nothing of it stays in the kernel. Addresses hidden in
// /proc/kallsyms are named, too. An error says that the kernel cannot (before 5.13), or may not tell.
func Functions(k *Kernel, addrs []uint64, each func(Function)) (err error) {
	obj, err := newObject(k, loadSymbol)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, obj.Close()) }()
	table, err := obj.createMap("symbols")
	if err != nil {
		return err
	}
	prog, err := obj.load("symbols_named")
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return err
	}
	for len(addrs) > 0 {
		some := addrs[:min(len(addrs), int(table.MaxEntries()))]
		addrs = addrs[len(some):]
		if err := functions(prog, table, some, each); err != nil {
			return err
		}
	}
	return nil
}

// functions does what fits into the table.
func functions(prog *ebpf.Program, table *ebpf.Map, addrs []uint64, each func(Function)) error {
	var row symbolSymbol
	for i, addr := range addrs {
		row.Addr = addr
		if err := table.Put(uint32(i), &row); err != nil {
			return fmt.Errorf("writing map symbols: %w", err)
		}
	}
	var ctx [8]byte
	binary.NativeEndian.PutUint64(ctx[:], uint64(len(addrs)))
	if _, err := prog.Run(&ebpf.RunOptions{Context: ctx[:]}); err != nil {
		return fmt.Errorf("running symbols_named: %w", err)
	}
	for i, addr := range addrs {
		if err := table.Lookup(uint32(i), &row); err != nil {
			return fmt.Errorf("reading map symbols: %w", err)
		}
		var text [len(row.Text)]byte
		for j, c := range row.Text {
			text[j] = byte(c)
		}
		end := bytes.IndexByte(text[:], 0)
		if end < 0 || end == len(text)-1 { // full: it may be cut
			end = 0
		}
		each(parseFunction(addr, string(text[:end])))
	}
	return nil
}

// parseFunction reads "name+0x1a/0x40 [module]", as lib/vsprintf.c prints %pS. A module may add its build's
// number behind its name.
func parseFunction(addr uint64, text string) Function {
	f := Function{Addr: addr, From: addr, To: addr + 1}
	where, module, _ := strings.Cut(text, " [")
	plus := strings.LastIndexByte(where, '+')
	if plus <= 0 {
		return f
	}
	at, size, ok := strings.Cut(where[plus+1:], "/")
	offset, err := strconv.ParseUint(at, 0, 64)
	length, lengthErr := strconv.ParseUint(size, 0, 64)
	if !ok || err != nil || lengthErr != nil || offset >= length || offset > addr || addr-offset+length < addr-offset {
		return f
	}
	module, _, _ = strings.Cut(strings.TrimSuffix(module, "]"), " ")
	return Function{Addr: addr, From: addr - offset, To: addr - offset + length, Name: where[:plus], Module: module}
}
