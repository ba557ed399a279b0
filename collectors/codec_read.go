// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Limits of what one line, and all that may be shared with later ones, may make of our memory. They
// are far above what is recorded.
const (
	decodeDepth  = 32
	decodeBudget = 32 << 20 // bytes
	decodeHeld   = 64 << 20
	decodeMade   = 8 << 30 // of all lines together: what is not held still takes time to make
)

// errSyntax is a line that is no JSON, or not of the shape that its type has.
var errSyntax = errors.New("not what is recorded")

// decoder reads values. What is shared is remembered until reset.
type decoder struct {
	plans  *plans
	in     []byte
	at     int
	depth  int
	budget int // of the line
	made   int // bytes that all lines have made
	held   int // bytes that lines since the reset have made and later ones may refer to
	ids    map[uint64]reflect.Value
}

func newDecoder(p *plans) *decoder { return &decoder{plans: p, ids: make(map[uint64]reflect.Value)} }

func (d *decoder) reset() {
	clear(d.ids)
	d.held = 0
}

// decode reads line into what v points to, which is zero. It never panics, and what it makes is bounded.
func (d *decoder) decode(line []byte, v any) error {
	rv := reflect.ValueOf(v).Elem()
	p, err := d.plans.plan(rv.Type())
	if err != nil {
		return fmt.Errorf("reading a recording: %w", err)
	}
	d.in, d.at, d.depth, d.budget = line, 0, 0, min(decodeBudget, decodeHeld-d.held, decodeMade-d.made)
	room := d.budget
	defer func() { d.made += room - d.budget }()
	if err := d.value(p, rv); err != nil {
		return fmt.Errorf("at byte %d: %w", d.at, err)
	}
	if d.peek() != 0 {
		return fmt.Errorf("at byte %d: %w", d.at, errSyntax)
	}
	return nil
}

// peek is the next byte that is no blank, 0 at the end.
func (d *decoder) peek() byte {
	for d.at < len(d.in) {
		switch c := d.in[d.at]; c {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

func (d *decoder) expect(c byte) error {
	if !d.take(c) {
		return fmt.Errorf("%w: no %q", errSyntax, c)
	}
	return nil
}

func (d *decoder) word(s string) bool {
	d.peek()
	if len(d.in)-d.at < len(s) || string(d.in[d.at:d.at+len(s)]) != s {
		return false
	}
	d.at += len(s)
	return true
}

// spend takes memory from the line's budget.
func (d *decoder) spend(n int, each uintptr) error {
	if n < 0 || each > 0 && n > d.budget/int(each) {
		return fmt.Errorf("%w: it would take too much memory", errSyntax)
	}
	d.budget -= n * int(each)
	return nil
}

// items calls f for each value of a list or object that begins with open.
func (d *decoder) items(open, end byte, f func() error) error {
	if err := d.expect(open); err != nil {
		return err
	}
	if d.depth++; d.depth > decodeDepth {
		return fmt.Errorf("%w: too deep", errSyntax)
	}
	for first := true; !d.take(end); first = false {
		if !first {
			if err := d.expect(','); err != nil {
				return err
			}
		}
		if err := f(); err != nil {
			return err
		}
	}
	d.depth--
	return nil
}

// members calls f with the name of each member of an object.
func (d *decoder) members(f func(name string) error) error {
	return d.items('{', '}', func() error {
		name, err := d.string()
		if err != nil {
			return err
		}
		if err := d.expect(':'); err != nil {
			return err
		}
		return f(name)
	})
}

func (d *decoder) value(p *plan, v reflect.Value) error {
	if p.kind != planShared && p.kind != planOwned && d.word("null") {
		return nil // a number that was none
	}
	switch p.kind {
	case planBool:
		switch {
		case d.word("true"):
			v.SetBool(true)
		case !d.word("false"):
			return errSyntax
		}
	case planInt:
		n, err := strconv.ParseInt(d.number(), 10, v.Type().Bits())
		v.SetInt(n)
		return wrong(err)
	case planUint:
		n, err := strconv.ParseUint(d.number(), 10, v.Type().Bits())
		v.SetUint(n)
		return wrong(err)
	case planFloat:
		n, err := strconv.ParseFloat(d.number(), v.Type().Bits())
		v.SetFloat(n)
		return wrong(err)
	case planString, planRaw, planTime, planText:
		return d.textual(p, v)
	case planStruct:
		if err := d.members(func(name string) error { return d.field(p, v, name) }); err != nil {
			return err
		}
		return p.whole(v)
	case planRows:
		return d.rows(p, v)
	case planList:
		return d.list(p, v)
	case planArray:
		return d.array(p, v)
	case planMap:
		return d.mapping(p, v)
	case planShared, planOwned:
		if d.word("null") {
			return nil
		}
		x, err := d.shared(p.t, p.t.Elem(), p.elem)
		if err == nil {
			v.Set(x)
		}
		return err
	case planProcess:
		x, err := d.shared(reflect.PointerTo(p.t), p.t, p)
		if err == nil {
			v.Set(x.Elem())
		}
		return err
	}
	return nil
}

func wrong(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errSyntax, err)
	}
	return nil
}

func (d *decoder) number() string {
	d.peek()
	from := d.at
	for d.at < len(d.in) {
		switch c := d.in[d.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			d.at++
			continue
		}
		break
	}
	return string(d.in[from:d.at])
}

func (d *decoder) textual(p *plan, v reflect.Value) error {
	s, err := d.string()
	if err != nil {
		return err
	}
	switch p.kind {
	case planRaw:
		v.Set(reflect.ValueOf(RawString(s)))
	case planTime:
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return wrong(err)
		}
		v.Set(reflect.ValueOf(t))
	case planText:
		u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
		if !ok || s == "" {
			return nil
		}
		if plain(s) != s { // the zone of an address can be anything
			return fmt.Errorf("%w: characters that cannot be shown", errSyntax)
		}
		return wrong(u.UnmarshalText([]byte(s)))
	default:
		v.SetString(plain(s))
	}
	return nil
}

func (d *decoder) field(p *plan, v reflect.Value, name string) error {
	i, ok := p.byName[name]
	if !ok {
		return d.skip()
	}
	return d.value(p.fields[i].plan, v.FieldByIndex(p.fields[i].index))
}

func (d *decoder) rows(p *plan, v reflect.Value) error {
	known := false
	err := d.members(func(name string) error {
		if name == "#" {
			n, err := strconv.Atoi(d.number())
			if err != nil {
				return wrong(err)
			}
			if err := d.spend(n, p.t.Elem().Size()); err != nil {
				return err
			}
			v.Set(reflect.MakeSlice(p.t, n, n))
			known = true
			return nil
		}
		i, ok := p.elem.byName[name]
		if !ok {
			return d.skip()
		}
		if !known {
			return fmt.Errorf("%w: a column before the number of rows", errSyntax)
		}
		f, k := &p.elem.fields[i], 0
		return d.items('[', ']', func() error {
			if k >= v.Len() {
				return fmt.Errorf("%w: more values than rows", errSyntax)
			}
			k++
			return d.value(f.plan, v.Index(k-1).FieldByIndex(f.index))
		})
	})
	if err != nil || len(p.elem.must) == 0 {
		return err
	}
	for k := range v.Len() {
		if err := p.elem.whole(v.Index(k)); err != nil {
			return err
		}
	}
	return nil
}

// whole says whether a struct has what is never missing.
func (p *plan) whole(v reflect.Value) error {
	for _, i := range p.must {
		if f := &p.fields[i]; v.FieldByIndex(f.index).IsNil() {
			return fmt.Errorf("%w: no %s", errSyntax, f.name)
		}
	}
	return nil
}

func (d *decoder) list(p *plan, v reflect.Value) error {
	size := p.t.Elem().Size()
	out := reflect.MakeSlice(p.t, 0, 0)
	err := d.items('[', ']', func() error {
		if err := d.spend(1, 2*size+1); err != nil { // as it grows
			return err
		}
		x := reflect.New(p.t.Elem()).Elem()
		if err := d.value(p.elem, x); err != nil {
			return err
		}
		if p.elem.kind == planShared && x.IsNil() {
			return fmt.Errorf("%w: nothing in a list", errSyntax)
		}
		out = reflect.Append(out, x)
		return nil
	})
	v.Set(out)
	return err
}

func (d *decoder) array(p *plan, v reflect.Value) error {
	index, at := true, 0
	return d.items('[', ']', func() error {
		if index = !index; index {
			if at >= v.Len() { // of a version that has more
				return d.skip()
			}
			return d.value(p.elem, v.Index(at))
		}
		n, err := strconv.ParseUint(d.number(), 10, 31)
		at = int(n)
		return wrong(err)
	})
}

func (d *decoder) mapping(p *plan, v reflect.Value) error {
	out := reflect.MakeMap(p.t)
	err := d.members(func(name string) error {
		if err := d.spend(1, 64+p.t.Elem().Size()); err != nil {
			return err
		}
		x := reflect.New(p.t.Elem()).Elem()
		if err := d.value(p.elem, x); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(plain(name)).Convert(p.t.Key()), x)
		return nil
	})
	v.Set(out)
	return err
}

// shared reads a value with its number, or the number of one that was read, and returns the pointer to
// it, of type t.
func (d *decoder) shared(t, of reflect.Type, p *plan) (x reflect.Value, err error) {
	if d.peek() != '{' {
		id, err := strconv.ParseUint(d.number(), 10, 64)
		if err != nil {
			return x, wrong(err)
		}
		x, ok := d.ids[id]
		if !ok || x.Type() != t {
			return x, fmt.Errorf("%w: it refers to what was not recorded", errSyntax)
		}
		return x, nil
	}
	before, kept := d.budget, false
	defer func() {
		if kept {
			d.held += before - d.budget
		}
	}()
	if err := d.spend(1, of.Size()+64); err != nil {
		return x, err
	}
	x = reflect.New(of)
	err = d.members(func(name string) error {
		switch {
		case name == "#":
			id, err := strconv.ParseUint(d.number(), 10, 64)
			if err == nil {
				d.ids[id], kept = x, true
			}
			return wrong(err)
		case p.kind == planStruct, p.kind == planProcess:
			return d.field(p, x.Elem(), name)
		case name == "=":
			return d.value(p, x.Elem())
		}
		return d.skip()
	})
	if err == nil && p.kind == planStruct {
		err = p.whole(x.Elem())
	}
	return x, err
}
