// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The JSON of recordings follows the types of the samples, by these rules:
//
//   - A field's name is the Go name in snake case, with its unit: From of type time.Duration is from_ns.
//     Fields that hold zero are left out, and fields that are not exported.
//   - A list of structs is written by columns: {"#":3,"pid":[1,2,3],"comm":["a","b","c"]}; a column of
//     zeros is left out.
//   - What samples share by pointer is written once in a chapter: {"#":7,…}, and then 7. So is the
//     identity of a process. What a pointer owns has no number: samples, and fields tagged record:"own".
//   - Arrays that are mostly zero, as histograms, are pairs of index and value.
//   - Text that others chose and that is no UTF-8 is {"hex":"…"}. Numbers that are no number are null.
//
// What a reader does not know it skips, and what it misses is zero: fields may be added, never renamed.
// What a row is about is never missing: those pointers are tagged record:"must".
//
// A recording may come from anybody. Text that is our own in a live run, and so may be shown, is cleaned
// as it is read.

// plan is how one type is written and read. Plans are made once for each type.
type plan struct {
	kind   planKind
	t      reflect.Type
	fields []planField // of a struct
	must   []int       // of fields: pointers that are never nil
	byName map[string]int
	elem   *plan // of a list, array, map or pointer
}

type planKind uint8

const (
	planBool planKind = iota
	planInt
	planUint
	planFloat
	planString
	planRaw
	planText // encoding.TextMarshaler
	planTime
	planStruct
	planRows  // list of structs
	planList  // list of anything else
	planArray // pairs of index and value
	planMap   // by text
	planShared
	planOwned   // as planShared, but nothing else points there
	planProcess // as planShared, by value
)

// ownTag marks a pointer field whose value nothing else points to, mustTag one that is never nil.
const (
	ownTag  = "own"
	mustTag = "must"
)

type planField struct {
	name  string
	index []int
	plan  *plan
}

// plans caches what was found out of types.
type plans struct {
	mu sync.Mutex
	of map[reflect.Type]*plan
}

func (p *plans) plan(t reflect.Type) (*plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[reflect.Type]*plan)
	}
	return p.make(t)
}

// make plans a type and those in it. The plan is noted before it is whole, as types may refer to
// themselves.
func (p *plans) make(t reflect.Type) (*plan, error) {
	if have := p.of[t]; have != nil {
		return have, nil
	}
	out := &plan{t: t}
	p.of[t] = out
	if err := p.fill(out, t); err != nil {
		delete(p.of, t)
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	return out, nil
}

func (p *plans) fill(out *plan, t reflect.Type) (err error) {
	switch {
	case t == reflect.TypeFor[Raw]():
		out.kind = planRaw
		return nil
	case t == reflect.TypeFor[time.Time]():
		out.kind = planTime
		return nil
	case t == reflect.TypeFor[Process]():
		out.kind = planProcess
		return p.fillStruct(out, t, nil, "")
	case t.Kind() == reflect.Struct && t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		out.kind = planText
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		out.kind = planBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		out.kind = planInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		out.kind = planUint
	case reflect.Float32, reflect.Float64:
		out.kind = planFloat
	case reflect.String:
		out.kind = planString
	case reflect.Struct:
		out.kind = planStruct
		return p.fillStruct(out, t, nil, "")
	case reflect.Slice:
		out.kind = planList
		if out.elem, err = p.make(t.Elem()); err == nil && out.elem.kind == planStruct {
			out.kind = planRows
		}
	case reflect.Array:
		out.kind = planArray
		out.elem, err = p.make(t.Elem())
	case reflect.Map:
		out.kind = planMap
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("keys of kind %v cannot be recorded", t.Key().Kind())
		}
		out.elem, err = p.make(t.Elem())
	case reflect.Pointer:
		out.kind = planShared
		out.elem, err = p.make(t.Elem())
	default:
		return fmt.Errorf("values of kind %v cannot be recorded", t.Kind())
	}
	return err
}

// fillStruct lists the fields, those of embedded structs among them.
func (p *plans) fillStruct(out *plan, t reflect.Type, above []int, prefix string) error {
	if out.byName == nil {
		out.byName = make(map[string]int)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		index := append(append([]int{}, above...), i)
		own := t == reflect.TypeFor[Snapshot]() || f.Tag.Get("record") == ownTag
		// An embedded struct is written as its fields, unless one of them is hidden by another.
		if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Process]() && !hidden(t, f.Type) {
			if err := p.fillStruct(out, f.Type, index, prefix); err != nil {
				return err
			}
			continue
		}
		elem, err := p.make(f.Type)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		if own && elem.kind == planShared {
			elem = &plan{kind: planOwned, t: elem.t, elem: elem.elem}
		}
		name := prefix + snake(f.Name) + unitOf(f.Type)
		if _, ok := out.byName[name]; ok {
			return fmt.Errorf("field %s: the name %q is taken", f.Name, name)
		}
		if f.Tag.Get("record") == mustTag {
			out.must = append(out.must, len(out.fields))
		}
		out.byName[name] = len(out.fields)
		out.fields = append(out.fields, planField{name, index, elem})
	}
	return nil
}

// hidden says whether a struct has a field of its own that hides one of an embedded struct.
func hidden(t, embedded reflect.Type) bool {
	for i := range embedded.NumField() {
		name := embedded.Field(i).Name
		for k := range t.NumField() {
			if f := t.Field(k); !f.Anonymous && f.Name == name {
				return true
			}
		}
	}
	return false
}

// unitOf is the unit that a type has by itself.
func unitOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "_ns"
	case reflect.TypeFor[Micros]():
		return "_us"
	}
	return ""
}

// snake turns OnCPUTotal into on_cpu_total.
func snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		lower := func(k int) bool { return k >= 0 && k < len(runes) && !unicode.IsUpper(runes[k]) }
		plural := i+2 == len(runes) && runes[i+1] == 's' // CPUs
		if i > 0 && unicode.IsUpper(r) && (lower(i-1) || lower(i+1) && !plural) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// encoder writes values. What is shared is remembered until reset.
type encoder struct {
	plans *plans
	out   []byte
	ids   map[any]uint64 // pointers and processes that were written
}

func newEncoder(p *plans) *encoder { return &encoder{plans: p, ids: make(map[any]uint64)} }

// reset begins a new chapter: nothing before it is referred to.
func (e *encoder) reset() { clear(e.ids) }

// encode writes what v is or points to. The text is valid until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	p, err := e.plans.plan(rv.Type())
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	e.out = e.out[:0]
	e.value(p, rv)
	return e.out, nil
}

func (e *encoder) value(p *plan, v reflect.Value) {
	if (p.kind == planRows || p.kind == planList || p.kind == planMap) && v.IsNil() {
		e.out = append(e.out, "null"...)
		return
	}
	switch p.kind {
	case planBool:
		e.out = strconv.AppendBool(e.out, v.Bool())
	case planInt:
		e.out = strconv.AppendInt(e.out, v.Int(), 10)
	case planUint:
		e.out = strconv.AppendUint(e.out, v.Uint(), 10)
	case planFloat:
		e.float(v.Float(), v.Type().Bits())
	case planString:
		e.text(v.String())
	case planRaw:
		e.text(v.Interface().(Raw).s)
	case planTime:
		e.text(v.Interface().(time.Time).Format(time.RFC3339Nano))
	case planText:
		b, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			b = nil // as the zero value
		}
		e.text(string(b))
	case planStruct:
		e.out = append(e.out, '{')
		e.fields(p, v)
		e.out = append(e.out, '}')
	case planRows:
		e.rows(p.elem, v)
	case planList:
		e.out = append(e.out, '[')
		for i := range v.Len() {
			e.comma('[')
			e.value(p.elem, v.Index(i))
		}
		e.out = append(e.out, ']')
	case planArray:
		e.array(p, v)
	case planMap:
		e.mapping(p, v)
	case planShared, planOwned:
		e.shared(p, v)
	case planProcess:
		if id, known := e.number(v.Interface()); known {
			e.out = strconv.AppendUint(e.out, id, 10)
		} else {
			e.numbered(id)
			e.fields(p, v)
			e.out = append(e.out, '}')
		}
	}
}

// comma stands before every value but the first of its bracket.
func (e *encoder) comma(bracket byte) {
	if e.out[len(e.out)-1] != bracket {
		e.out = append(e.out, ',')
	}
}

func (e *encoder) name(s string) {
	e.comma('{')
	e.out = append(e.out, '"')
	e.out = append(e.out, s...)
	e.out = append(e.out, '"', ':')
}

func (e *encoder) fields(p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		if x := v.FieldByIndex(f.index); !x.IsZero() {
			e.name(f.name)
			e.value(f.plan, x)
		}
	}
}

// rows writes a list of structs by columns.
func (e *encoder) rows(p *plan, v reflect.Value) {
	n := v.Len()
	e.out = append(e.out, `{"#":`...)
	e.out = strconv.AppendInt(e.out, int64(n), 10)
	for i := range p.fields {
		f := &p.fields[i]
		zero := true
		for k := 0; k < n && zero; k++ {
			zero = v.Index(k).FieldByIndex(f.index).IsZero()
		}
		if zero {
			continue
		}
		e.name(f.name)
		e.out = append(e.out, '[')
		for k := range n {
			e.comma('[')
			e.value(f.plan, v.Index(k).FieldByIndex(f.index))
		}
		e.out = append(e.out, ']')
	}
	e.out = append(e.out, '}')
}

// array writes what is not zero: [index, value, index, value, …].
func (e *encoder) array(p *plan, v reflect.Value) {
	e.out = append(e.out, '[')
	for i := range v.Len() {
		if x := v.Index(i); !x.IsZero() {
			e.comma('[')
			e.out = strconv.AppendInt(e.out, int64(i), 10)
			e.out = append(e.out, ',')
			e.value(p.elem, x)
		}
	}
	e.out = append(e.out, ']')
}

func (e *encoder) mapping(p *plan, v reflect.Value) {
	e.out = append(e.out, '{')
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	for _, k := range keys {
		e.comma('{')
		e.text(k)
		e.out = append(e.out, ':')
		e.value(p.elem, v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())))
	}
	e.out = append(e.out, '}')
}
