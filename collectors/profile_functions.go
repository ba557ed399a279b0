// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"slices"
	"sort"
)

// functionTable names the functions of one file, or of the code that one process made. Once it is sorted it
// does not change.
type functionTable struct {
	all   []tableFunction
	names []byte
	room  int // bytes that it may still take
}

// tableFunction is one function; its name is names[name:name+length].
type tableFunction struct {
	addr, size   uint64
	name, length uint32
}

// functionBytes is what a function takes beside its name, and maxTableBytes what all functions that a
// profile holds may take.
const (
	functionBytes = 24
	maxTableBytes = 128 << 20
)

// add takes a function; false: there is no room for more.
func (t *functionTable) add(addr, size uint64, name []byte) bool {
	if len(name) == 0 || addr == 0 {
		return true
	}
	if len(t.all) >= maxFunctions || t.room < functionBytes+len(name) {
		return false
	}
	t.room -= functionBytes + len(name)
	t.all = append(t.all, tableFunction{addr, size, uint32(len(t.names)), uint32(len(name))})
	t.names = append(t.names, name...)
	return true
}

// sort makes it ready for at. Of several functions at one address the largest counts, and of those the
// first that was added.
func (t *functionTable) sort() {
	slices.SortStableFunc(t.all, func(a, b tableFunction) int { return cmp.Compare(b.size, a.size) })
	t.byAddress()
}

// byAddress makes it ready for at. Of several functions at one address the first counts.
func (t *functionTable) byAddress() {
	slices.SortStableFunc(t.all, func(a, b tableFunction) int { return cmp.Compare(a.addr, b.addr) })
	t.all = slices.CompactFunc(t.all, func(a, b tableFunction) bool { return a.addr == b.addr })
	t.all, t.names = slices.Clip(t.all), slices.Clip(t.names)
}

// bytes is what it holds; nil holds nothing.
func (t *functionTable) bytes() int {
	if t == nil {
		return 0
	}
	return len(t.all)*functionBytes + len(t.names)
}

// at is the name of the function that holds an address. One whose size is not known ends where the next
// one begins; behind the last such one everything is its own.
func (t *functionTable) at(addr uint64) (name string, ok bool) {
	i := sort.Search(len(t.all), func(i int) bool { return t.all[i].addr > addr }) - 1
	if i < 0 {
		return "", false
	}
	f := t.all[i]
	if f.size > 0 && addr-f.addr >= f.size {
		return "", false
	}
	return string(t.names[f.name : f.name+f.length]), true
}
