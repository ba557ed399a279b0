// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// skip reads past a value of any shape.
func (d *decoder) skip() error {
	switch c := d.peek(); {
	case c == '{':
		if d.hexText() {
			_, err := d.string()
			return err
		}
		return d.members(func(string) error { return d.skip() })
	case c == '[':
		return d.items('[', ']', d.skip)
	case c == '"':
		_, err := d.string()
		return err
	case d.word("null"), d.word("true"), d.word("false"):
		return nil
	}
	_, err := strconv.ParseFloat(d.number(), 64)
	if errors.Is(err, strconv.ErrRange) {
		return nil
	}
	return wrong(err)
}

// hexText says whether text in hexadecimal comes next.
func (d *decoder) hexText() bool {
	from := d.at
	defer func() { d.at = from }()
	return d.take('{') && d.word(`"hex"`) && d.take(':')
}

// string reads text, also in hexadecimal.
func (d *decoder) string() (string, error) {
	if d.peek() == '{' {
		var s string
		err := d.members(func(name string) error {
			if name != "hex" || d.peek() != '"' {
				return errSyntax
			}
			h, err := d.string()
			if err != nil {
				return err
			}
			b, err := hex.DecodeString(h)
			s = string(b)
			return wrong(err)
		})
		return s, err
	}
	if err := d.expect('"'); err != nil {
		return "", err
	}
	from := d.at
	for d.at < len(d.in) {
		switch d.in[d.at] {
		case '"':
			s := string(d.in[from:d.at])
			d.at++
			return s, d.spend(len(s), 1)
		case '\\':
			return d.escaped(from)
		}
		d.at++
	}
	return "", fmt.Errorf("%w: text without an end", errSyntax)
}

// escaped reads the rest of a text with escapes.
func (d *decoder) escaped(from int) (string, error) {
	out := append([]byte{}, d.in[from:d.at]...)
	for d.at < len(d.in) {
		c := d.in[d.at]
		d.at++
		switch {
		case c == '"':
			return string(out), d.spend(len(out), 1)
		case c != '\\':
			out = append(out, c)
			continue
		case d.at == len(d.in):
			return "", errSyntax
		}
		c = d.in[d.at]
		d.at++
		if c == 'u' {
			r, err := d.rune()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		plain, ok := map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c]
		if !ok {
			return "", fmt.Errorf("%w: an escape that is none", errSyntax)
		}
		out = append(out, plain)
	}
	return "", fmt.Errorf("%w: text without an end", errSyntax)
}

// rune reads the four digits behind \u, and those of the other half of a pair.
func (d *decoder) rune() (rune, error) {
	unit := func() (rune, error) {
		if len(d.in)-d.at < 4 {
			return 0, errSyntax
		}
		n, err := strconv.ParseUint(string(d.in[d.at:d.at+4]), 16, 16)
		d.at += 4
		return rune(n), wrong(err)
	}
	r, err := unit()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !d.word(`\u`) {
		return utf8.RuneError, nil
	}
	low, err := unit()
	return utf16.DecodeRune(r, low), err
}
