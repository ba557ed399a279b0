// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// frames makes what Bubble Tea writes shorter. Bubble Tea repeats each line of which anything has
// changed, which at 200 columns is 12 kB a second on a busy host; frames knows what the terminal
// shows and sends the changed cells only.
//
// It understands the one shape that a frame has in the alternate screen: cursor home; for each row
// a line feed if the row stays, else its text, CR and LF (the last row without); cursor to the last
// row. Anything else goes through untouched and makes it forget what it knew. So does a frame that
// repeats every row: that is how Bubble Tea repaints a terminal of unknown contents, after a change
// of size for example.
type frames struct {
	rows   [][]cell // what the terminal shows; a nil row is not known
	styles map[string]style
	codes  []string // the sequences that make a style, by its number
	buf    []byte
	next   []cell // a row being read; swapped with the one it replaces
	sgr    []byte // the style while a row is read
	moved  []cell // a row as it is after some cells were deleted
	alt    []byte // the other way to make a change
}

// style is the number of a style; 0 is none.
type style uint16

type cell struct {
	r rune
	s style
}

// maxStyles is far above what the screens use, and bounds the memory.
const maxStyles = 1 << 10

// joinGap is up to how many unchanged cells are sent again, because moving the cursor over them takes
// as many bytes.
const joinGap = 6

// A graph moves by a column a sample, or two if a frame was late. From shiftFrom bytes on it is worth
// trying to let the terminal move it.
const (
	shiftFrom = 48
	shiftMost = 2
)

const home = "\x1b[H"

// shrink returns bytes that make the terminal show the same as p does. They are p, or valid until
// the next call.
func (f *frames) shrink(p []byte) []byte {
	lines, tail, ok := cutFrame(p)
	if !ok {
		f.rows = nil
		return p
	}
	if len(f.styles) > maxStyles {
		*f = frames{}
	}
	if f.styles == nil {
		f.styles, f.codes = map[string]style{"": 0}, []string{""}
	}
	if len(f.rows) != len(lines) {
		f.rows = make([][]cell, len(lines))
	}
	repaint := true
	for _, l := range lines {
		repaint = repaint && len(l) > 0
	}
	out := f.buf[:0]
	for y, l := range lines {
		if len(l) == 0 {
			continue
		}
		old := f.rows[y]
		row, ok := f.read(f.next[:0], l)
		if !ok {
			f.rows[y] = nil
			out = append(moveTo(out, y, 0), l...)
			continue
		}
		if old == nil {
			out = append(moveTo(out, y, 0), l...)
		} else {
			out = f.change(out, y, old, row)
		}
		f.rows[y], f.next = row, old
	}
	out = append(out, tail...)
	f.buf = out
	if repaint || len(out) >= len(p) {
		return p
	}
	return out
}

// cutFrame cuts a frame into rows, empty if unchanged, and the last cursor movement.
func cutFrame(p []byte) (lines [][]byte, tail []byte, ok bool) {
	body, ok := bytes.CutPrefix(p, []byte(home))
	if !ok || !bytes.HasSuffix(body, []byte(";H")) {
		return nil, nil, false
	}
	at := bytes.LastIndexByte(body, '\x1b')
	if at < 0 || !bytes.HasPrefix(body[at:], []byte("\x1b[")) {
		return nil, nil, false
	}
	body, tail = body[:at], body[at:]
	n, err := strconv.Atoi(string(tail[2 : len(tail)-2]))
	if err != nil {
		return nil, nil, false
	}
	lines = bytes.Split(body, []byte{'\n'})
	if len(lines) != n {
		return nil, nil, false
	}
	for i, l := range lines[:n-1] {
		if len(l) == 0 {
			continue
		}
		if lines[i], ok = bytes.CutSuffix(l, []byte{'\r'}); !ok || len(lines[i]) == 0 {
			return nil, nil, false
		}
	}
	lines[0] = bytes.TrimPrefix(lines[0], []byte{'\r'}) // of the first frame
	return lines, tail, true
}

// read turns a row's text into cells, without blanks at the end. It gives up on whatever a terminal
// may draw wider or narrower than one cell, and on sequences other than styles.
func (f *frames) read(dst []cell, l []byte) ([]cell, bool) {
	f.sgr = f.sgr[:0]
	var now style
	for len(l) > 0 {
		if l[0] == '\x1b' {
			n := sequence(l)
			switch {
			case n == 0:
				return nil, false
			case l[n-1] == 'K' && n == len(l) && n == len("\x1b[K") && now == 0:
				l = nil
				continue
			case l[n-1] != 'm':
				return nil, false
			case n == len("\x1b[m") || n == len("\x1b[0m") && l[2] == '0':
				f.sgr = f.sgr[:0]
			default:
				f.sgr = append(f.sgr, l[:n]...)
			}
			now = f.style()
			l = l[n:]
			continue
		}
		r, n := rune(l[0]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(l)
		}
		if !oneCell(r) {
			return nil, false
		}
		dst = append(dst, cell{r, now})
		l = l[n:]
	}
	if now != 0 {
		return nil, false // it would reach into the next row
	}
	for len(dst) > 0 && dst[len(dst)-1] == blank() {
		dst = dst[:len(dst)-1]
	}
	if dst == nil {
		dst = []cell{} // known to be empty
	}
	return dst, true
}

func blank() cell { return cell{r: ' '} }

// style numbers the style being read.
func (f *frames) style() style {
	s, ok := f.styles[string(f.sgr)]
	if !ok {
		s = style(len(f.codes))
		code := string(f.sgr)
		f.styles[code] = s
		f.codes = append(f.codes, code)
	}
	return s
}

// sequence is the length of the control sequence that l begins with; 0 if it is none.
func sequence(l []byte) int {
	if len(l) < 3 || l[1] != '[' {
		return 0
	}
	for i, b := range l[2:] {
		switch {
		case b >= '0' && b <= '9', b == ';', b == ':':
		case b >= '@' && b <= '~':
			return i + 3
		default:
			return 0
		}
	}
	return 0
}

// oneCell says whether every terminal draws a character one cell wide. Only what our screens are
// made of is taken for sure.
func oneCell(r rune) bool {
	switch {
	case r >= ' ' && r <= '~':
		return true
	case r >= 0xa1 && r < 0x300:
		return r != 0xad // soft hyphen
	case r >= 0x2010 && r <= 0x2027, r >= 0x2030 && r <= 0x205e: // dashes, quotes, dots
		return true
	case r >= 0x2190 && r <= 0x21ff, r >= 0x2200 && r <= 0x22ff: // arrows, signs
		return true
	case r >= 0x2500 && r <= 0x25fc, r >= 0x2800 && r <= 0x28ff: // lines, blocks, shapes, braille
		return true
	}
	return false
}

// change appends what turns a row that shows old into one that shows row, the shorter way: cell by
// cell, or after deleting a few cells, by which the terminal moves the rest of the row to the left.
func (f *frames) change(out []byte, y int, old, row []cell) []byte {
	begun := len(out)
	out = f.diff(out, y, old, row)
	if len(out)-begun < shiftFrom {
		return out
	}
	x := 0
	for x < min(len(old), len(row)) && old[x] == row[x] {
		x++
	}
	for n := 1; n <= shiftMost && x+n <= len(old); n++ {
		f.moved = append(append(f.moved[:0], old[:x]...), old[x+n:]...)
		f.alt = moveTo(f.alt[:0], y, x)
		f.alt = append(f.alt, "\x1b["...)
		f.alt = strconv.AppendInt(f.alt, int64(n), 10)
		f.alt = append(f.alt, 'P')
		f.alt = f.diff(f.alt, y, f.moved, row)
		if len(f.alt) < len(out)-begun {
			out = append(out[:begun], f.alt...)
		}
	}
	return out
}

// diff appends the cells that differ.
func (f *frames) diff(out []byte, y int, old, row []cell) []byte {
	at := func(cells []cell, x int) cell {
		if x < len(cells) {
			return cells[x]
		}
		return blank()
	}
	same := func(x int) bool { return at(old, x) == at(row, x) }
	width := max(len(old), len(row))
	for x := 0; x < width; x++ {
		if same(x) {
			continue
		}
		end := x + 1
		for next := end; next < width && next-end < joinGap; next++ {
			if !same(next) {
				end = next + 1
			}
		}
		out = moveTo(out, y, x)
		out = f.text(out, row[min(x, len(row)):min(end, len(row))])
		if end > len(row) { // so the old one was longer, and nothing of it stays
			return append(out, "\x1b[K"...)
		}
		x = end
	}
	return out
}

// text appends cells where the cursor is, and leaves no style behind.
func (f *frames) text(out []byte, cells []cell) []byte {
	var now style
	change := func(to style) {
		if to == now {
			return
		}
		if now != 0 {
			out = append(out, "\x1b[m"...)
		}
		out = append(out, f.codes[to]...)
		now = to
	}
	for _, c := range cells {
		change(c.s)
		out = utf8.AppendRune(out, c.r)
	}
	change(0)
	return out
}

// moveTo appends the movement of the cursor to a row and column, both from 0.
func moveTo(out []byte, y, x int) []byte {
	out = append(out, "\x1b["...)
	out = strconv.AppendInt(out, int64(y+1), 10)
	if x > 0 {
		out = append(out, ';')
		out = strconv.AppendInt(out, int64(x+1), 10)
	}
	return append(out, 'H')
}
