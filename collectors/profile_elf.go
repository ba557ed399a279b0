// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// The file of a program is what its owner made of it. What is read of one is bounded, whatever its headers
// say: files may be sparse, and say that they are terabytes long.
const (
	maxSections    = 8 << 10
	maxSegments    = 512
	maxSymbolBytes = 128 << 20 // of a table of symbols, and of one of names
	maxFunctions   = 1 << 20   // of a file
	maxNameBytes   = 512       // of a function: C++ has longer ones, which are cut
)

var errNoELF = errors.New("no ELF file that is understood")

// Of the ELF specification.
const (
	elfSymbols   = 2 // types of sections
	elfDynamic   = 11
	elfNoBits    = 8
	elfPacked    = 1 << 11 // a flag of sections
	elfLoad      = 1       // types of segments
	elfNote      = 4
	elfFunction  = 2 // types of symbols
	elfIndirect  = 10
	elfBuildID   = 3 // type of a note
	maxNoteBytes = 64 << 10
)

// elfFile is what is read of an ELF file, little-endian, of 64 or 32 bits.
type elfFile struct {
	r        io.ReaderAt
	size     uint64
	wide     bool
	segments []elfSegment
	sections []elfSection
	names    []byte // of the sections
	id       []byte // build ID; nil if it has none
}

// elfSegment says where bytes of the file lie in memory, before the program is moved.
type elfSegment struct{ off, size, addr uint64 }

type elfSection struct {
	name, kind, link              uint32
	flags, addr, off, size, entry uint64
}

// openELF reads the headers.
func openELF(r io.ReaderAt, size uint64) (*elfFile, error) {
	f := &elfFile{r: r, size: size}
	h, err := f.read(0, 64, 64)
	if err != nil {
		if h, err = f.read(0, 52, 52); err != nil {
			return nil, errNoELF
		}
	}
	const little, wide = 1, 2
	if string(h[:4]) != "\x7fELF" || h[5] != little || (h[4] == wide && len(h) < 64) {
		return nil, errNoELF
	}
	f.wide = h[4] == wide
	le := binary.LittleEndian
	if f.wide {
		err = errors.Join(
			f.readSegments(le.Uint64(h[32:]), int(le.Uint16(h[54:])), int(le.Uint16(h[56:]))),
			f.readSections(le.Uint64(h[40:]), int(le.Uint16(h[58:])), int(le.Uint16(h[60:])), int(le.Uint16(h[62:]))))
	} else {
		err = errors.Join(
			f.readSegments(uint64(le.Uint32(h[28:])), int(le.Uint16(h[42:])), int(le.Uint16(h[44:]))),
			f.readSections(uint64(le.Uint32(h[32:])), int(le.Uint16(h[46:])), int(le.Uint16(h[48:])), int(le.Uint16(h[50:]))))
	}
	if err != nil || len(f.segments) == 0 {
		return nil, errNoELF
	}
	return f, nil
}

// read returns n bytes of the file, no more than most.
func (f *elfFile) read(off, n, most uint64) ([]byte, error) {
	if n > most || n > f.size || off > f.size-n {
		return nil, errNoELF
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, int64(off)); err != nil {
		return nil, fmt.Errorf("reading an ELF file: %w", err)
	}
	return b, nil
}

func (f *elfFile) readSegments(off uint64, entry, n int) error {
	if n > maxSegments || n > 0 && (f.wide && entry != 56 || !f.wide && entry != 32) {
		return errNoELF
	}
	b, err := f.read(off, uint64(n*entry), maxSegments*56)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[entry:] {
		var s elfSegment
		if f.wide {
			s = elfSegment{le.Uint64(b[8:]), le.Uint64(b[32:]), le.Uint64(b[16:])}
		} else {
			s = elfSegment{uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[8:]))}
		}
		switch le.Uint32(b) {
		case elfLoad:
			f.segments = append(f.segments, s)
		case elfNote:
			if notes, err := f.read(s.off, s.size, maxNoteBytes); err == nil && f.id == nil {
				f.id = buildID(notes)
			}
		}
	}
	return nil
}

// buildID looks for the GNU build ID among notes.
func buildID(b []byte) []byte {
	le := binary.LittleEndian
	for len(b) >= 12 {
		name, desc, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		from := 12 + (name+3)&^3
		next := from + (desc+3)&^3
		if from+desc > uint64(len(b)) {
			return nil
		}
		if kind == elfBuildID && name == 4 && string(b[12:15]) == "GNU" && desc >= 2 && desc <= 64 {
			return bytes.Clone(b[from : from+desc])
		}
		b = b[min(next, uint64(len(b))):]
	}
	return nil
}

func (f *elfFile) readSections(off uint64, entry, n, names int) error {
	if n == 0 {
		return nil // only its segments are left
	}
	if n > maxSections || f.wide && entry != 64 || !f.wide && entry != 40 {
		return errNoELF
	}
	b, err := f.read(off, uint64(n*entry), maxSections*64)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[entry:] {
		s := elfSection{name: le.Uint32(b), kind: le.Uint32(b[4:])}
		if f.wide {
			s.flags, s.addr, s.off, s.size = le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])
			s.link, s.entry = le.Uint32(b[40:]), le.Uint64(b[56:])
		} else {
			s.flags, s.addr, s.off, s.size = uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:]))
			s.link, s.entry = le.Uint32(b[24:]), uint64(le.Uint32(b[36:]))
		}
		f.sections = append(f.sections, s)
	}
	if names < len(f.sections) {
		f.names, _ = f.data(&f.sections[names], 1<<20) // without them only Go's table is not found
	}
	return nil
}

// data is what a section holds in the file.
func (f *elfFile) data(s *elfSection, most uint64) ([]byte, error) {
	if s.kind == elfNoBits || s.flags&elfPacked != 0 {
		return nil, errNoELF
	}
	return f.read(s.off, s.size, most)
}

// segmentAddress is where a byte of the file is to lie in memory.
func segmentAddress(segments []elfSegment, off uint64) (addr uint64, ok bool) {
	for _, s := range segments {
		// What is mapped is whole pages: a little before and behind the segment, too.
		if off >= s.off&^4095 && off < s.off+s.size {
			return off - s.off + s.addr, true
		}
	}
	return 0, false
}

// functions reads the functions of a table of symbols: of elfSymbols or elfDynamic. None is no error.
func (f *elfFile) functions(kind uint32, into *functionTable) error {
	entry := uint64(24)
	if !f.wide {
		entry = 16
	}
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != kind || s.entry != entry || uint64(s.link) >= uint64(len(f.sections)) {
			continue
		}
		names, err := f.data(&f.sections[s.link], maxSymbolBytes)
		if err != nil {
			return err
		}
		return f.eachSymbol(s, entry, func(name uint32, addr, size uint64) bool {
			if uint64(name) >= uint64(len(names)) {
				return true
			}
			return into.add(addr, size, cName(names[name:]))
		})
	}
	return nil
}

// eachSymbol reads the functions that are defined here, in pieces, until each has enough.
func (f *elfFile) eachSymbol(s *elfSection, entry uint64, each func(name uint32, addr, size uint64) bool) error {
	if s.flags&elfPacked != 0 || s.kind == elfNoBits {
		return errNoELF
	}
	le := binary.LittleEndian
	piece := entry * 4096
	for at := uint64(0); at+entry <= min(s.size, maxSymbolBytes); at += piece {
		b, err := f.read(s.off+at, min(piece, (s.size-at)/entry*entry), piece)
		if err != nil {
			return err
		}
		for ; len(b) > 0; b = b[entry:] {
			name, info, in, addr, size := le.Uint32(b), b[12], le.Uint16(b[14:]), uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:]))
			if f.wide {
				info, in, addr, size = b[4], le.Uint16(b[6:]), le.Uint64(b[8:]), le.Uint64(b[16:])
			}
			if kind := info & 15; kind != elfFunction && kind != elfIndirect || in == 0 || name == 0 {
				continue
			}
			if !each(name, addr, size) {
				return nil
			}
		}
	}
	return nil
}

// goFunctions reads the table that Go's runtime walks stacks by, which stays when a program is stripped.
func (f *elfFile) goFunctions(into *functionTable) error {
	var table, text *elfSection
	for i := range f.sections {
		switch s := &f.sections[i]; f.sectionName(s) {
		case ".gopclntab", ".data.rel.ro.gopclntab":
			table = s
		case ".text":
			text = s
		}
	}
	if table == nil || text == nil {
		return nil
	}
	data, err := f.data(table, maxSymbolBytes)
	if err != nil {
		return err
	}
	if !goTable(data, text.addr, into) {
		return fmt.Errorf("reading Go's functions: %w", errFormat)
	}
	return nil
}

// What such a table begins with, by the version of Go that made it. That of Go 1.2 has no names here.
const (
	goTable116 = 0xfffffffa
	goTable118 = 0xfffffff0
	goTable120 = 0xfffffff1
)

// goTable takes the functions of such a table; false: it is none, or broken off. Package debug/gosym reads it
// too, but copies whole names, which may overlap: a small file can ask for more memory than there is.
func goTable(b []byte, text uint64, into *functionTable) bool {
	le := binary.LittleEndian
	if len(b) < 8 || b[7] != 4 && b[7] != 8 {
		return false
	}
	pointer, field, base, first := int(b[7]), 4, text, 3 // bytes of a field; what addresses begin at; the word of the names
	switch le.Uint32(b) {
	case goTable116:
		field, base, first = pointer, 0, 2
	case goTable118, goTable120:
	default:
		return false
	}
	good := true
	number := func(b []byte, at uint64, size int) uint64 {
		switch {
		case uint64(len(b)) < uint64(size) || at > uint64(len(b)-size):
			good = false
			return 0
		case size == 4:
			return uint64(le.Uint32(b[at:]))
		default:
			return le.Uint64(b[at:])
		}
	}
	word := func(i int) uint64 { return number(b, uint64(8+i*pointer), pointer) }
	piece := func(i int) []byte { return b[min(word(i), uint64(len(b))):] }
	n, names, functions := word(0), piece(first), piece(first+4)
	step := uint64(field)
	for i := uint64(0); good && i < min(n, maxFunctions); i++ {
		// Each has its address and where the rest is told, of which the name comes behind the address again.
		addr, info, end := number(functions, 2*i*step, field), number(functions, (2*i+1)*step, field), number(functions, (2*i+2)*step, field)
		name := number(functions, min(info, uint64(len(functions)))+step, 4)
		if !good || name >= uint64(len(names)) {
			return false
		}
		if !into.add(base+addr, max(addr, end)-addr, cName(names[name:])) {
			break
		}
	}
	return good
}

// cName is what stands before the zero, or as much of it as is kept.
func cName(b []byte) []byte {
	b = b[:min(len(b), maxNameBytes)]
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return b
}

func (f *elfFile) sectionName(s *elfSection) string {
	if uint64(s.name) >= uint64(len(f.names)) {
		return ""
	}
	name, _, _ := bytes.Cut(f.names[s.name:], []byte{0})
	return string(name)
}

// debugPath is where distributions keep the symbols of a stripped file; "" if it has no build ID.
func (f *elfFile) debugPath() string {
	if len(f.id) < 2 {
		return ""
	}
	id := hex.EncodeToString(f.id)
	return "/usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"
}
