// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/hex"
	"math"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// shared writes what a pointer points to the first time, and then its number.
func (e *encoder) shared(p *plan, v reflect.Value) {
	if v.IsNil() {
		e.out = append(e.out, "null"...)
		return
	}
	if p.kind == planOwned {
		e.out = append(e.out, '{')
	} else {
		id, known := e.number(v.Interface())
		if known {
			e.out = strconv.AppendUint(e.out, id, 10)
			return
		}
		e.numbered(id)
	}
	if p.elem.kind == planStruct {
		e.fields(p.elem, v.Elem())
	} else {
		e.name("=")
		e.value(p.elem, v.Elem())
	}
	e.out = append(e.out, '}')
}

// number is the number of what is shared, and whether it was written before.
func (e *encoder) number(key any) (id uint64, known bool) {
	if id, known = e.ids[key]; !known {
		id = uint64(len(e.ids)) + 1
		e.ids[key] = id
	}
	return id, known
}

// numbered begins what later is its number only.
func (e *encoder) numbered(id uint64) {
	e.out = append(e.out, `{"#":`...)
	e.out = strconv.AppendUint(e.out, id, 10)
}

func (e *encoder) float(v float64, bits int) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		e.out = append(e.out, "null"...)
		return
	}
	e.out = strconv.AppendFloat(e.out, v, 'g', -1, bits)
}

// text writes a string, or its bytes where it is none.
func (e *encoder) text(s string) {
	if !utf8.ValidString(s) {
		e.out = append(e.out, `{"hex":"`...)
		e.out = hex.AppendEncode(e.out, []byte(s))
		e.out = append(e.out, '"', '}')
		return
	}
	e.out = append(e.out, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		e.out = append(e.out, s[from:i]...)
		switch c := s[i]; c {
		case '"', '\\':
			e.out = append(e.out, '\\', c)
		default:
			e.out = append(e.out, `\u00`...)
			e.out = hex.AppendEncode(e.out, []byte{c})
		}
		from = i + 1
	}
	e.out = append(e.out, s[from:]...)
	e.out = append(e.out, '"')
}
