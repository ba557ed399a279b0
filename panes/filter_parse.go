// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// The language of filters, from what binds least:
//
//	any    = all { "or" all }
//	all    = not { [ "and" ] not }
//	not    = ( "not" | "!" ) not | one
//	one    = "(" any ")" | column op value | text
//	op     = "=" | "!=" | "~" | "!~" | ">" | ">=" | "<" | "<="
//	value  = word | "quoted" | re/pattern/
//	text   = word { word } | "quoted" | re/pattern/
//
// Case counts where a text or pattern holds a capital.

// Filter keeps the rows of a table that it is true of. It is not written after parsing; nil keeps every
// row.
type Filter struct {
	text string
	root expr
}

// fault is what is wrong with a filter, and where.
type fault struct {
	at   int // rune of the text, from 0
	says string
}

// Error implements error.
func (f *fault) Error() string { return fmt.Sprintf("at %d: %s", f.at+1, f.says) }

// parseFilter reads a filter. Of an empty text it is nil. An error is a *fault.
func parseFilter(text string) (*Filter, error) {
	p := parser{runes: []rune(text)}
	if err := p.scan(); err != nil {
		return nil, err
	}
	if len(p.tokens) == 1 {
		return nil, nil
	}
	root, err := p.any()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != endToken {
		return nil, &fault{t.at, "a ) without its ("}
	}
	return &Filter{text: strings.TrimSpace(text), root: root}, nil
}

type tokenKind uint8

const (
	endToken tokenKind = iota
	wordToken
	quotedToken
	patternToken
	opToken
	openToken
	closeToken
	notToken
)

type token struct {
	kind    tokenKind
	text    string
	at, end int // runes of the text
}

// is says whether a token is a word of the language.
func (t token) is(word string) bool { return t.kind == wordToken && strings.EqualFold(t.text, word) }

// deepest bounds how far brackets and negations nest.
const deepest = 50

type parser struct {
	runes  []rune
	tokens []token // the last is the end
	next   int
	depth  int
}

// scan cuts the text into tokens.
func (p *parser) scan() error {
	for i := 0; i < len(p.runes); {
		c, from := p.runes[i], i
		switch {
		case unicode.IsSpace(c):
			i++
			continue
		case c == '(':
			i++
			p.add(openToken, "(", from, i)
		case c == ')':
			i++
			p.add(closeToken, ")", from, i)
		case c == '"':
			end := slices.Index(p.runes[i+1:], '"')
			if end < 0 {
				return &fault{from, `a " without the second`}
			}
			i += end + 2
			p.add(quotedToken, string(p.runes[from+1:i-1]), from, i)
		case p.operator(i) != "":
			op := p.operator(i)
			i += len(op)
			p.add(opToken, op, from, i)
		case c == '!':
			i++
			p.add(notToken, "!", from, i)
		case strings.HasPrefix(string(p.runes[i:min(i+3, len(p.runes))]), "re/"):
			var text string
			text, i = p.pattern(i + len("re/"))
			p.add(patternToken, text, from, i)
		default:
			for i < len(p.runes) && !p.breaks(i) {
				i++
			}
			p.add(wordToken, string(p.runes[from:i]), from, i)
		}
	}
	p.add(endToken, "", len(p.runes), len(p.runes))
	return nil
}

func (p *parser) add(kind tokenKind, text string, at, end int) {
	p.tokens = append(p.tokens, token{kind, text, at, end})
}

// operator is the comparison that stands at i, empty if there is none.
func (p *parser) operator(i int) string {
	two := string(p.runes[i:min(i+2, len(p.runes))])
	switch two {
	case "!=", ">=", "<=", "!~":
		return two
	}
	switch p.runes[i] {
	case '=', '~', '<', '>':
		return two[:1]
	}
	return ""
}

// breaks says whether a word ends before i. A ! within a word is part of it.
func (p *parser) breaks(i int) bool {
	c := p.runes[i]
	return unicode.IsSpace(c) || c == '(' || c == ')' || c == '"' || p.operator(i) != ""
}

// pattern reads up to the closing /, or to the end while it is being typed. A / in it is written \/.
func (p *parser) pattern(i int) (text string, end int) {
	var b strings.Builder
	for ; i < len(p.runes); i++ {
		switch {
		case p.runes[i] == '\\' && i+1 < len(p.runes):
			if p.runes[i+1] != '/' {
				b.WriteRune('\\')
			}
			i++
		case p.runes[i] == '/':
			return b.String(), i + 1
		}
		b.WriteRune(p.runes[i])
	}
	return b.String(), i
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != endToken {
		p.next++
	}
	return t
}

func (p *parser) any() (expr, error) {
	out, err := p.all()
	for err == nil && p.peek().is("or") {
		p.take()
		var more expr
		if more, err = p.all(); err == nil {
			out = either{out, more}
		}
	}
	return out, err
}

func (p *parser) all() (expr, error) {
	out, err := p.not()
	for err == nil {
		switch t := p.peek(); {
		case t.is("and"):
			p.take()
		case t.is("or"), t.kind == endToken, t.kind == closeToken:
			return out, nil
		}
		var more expr
		if more, err = p.not(); err == nil {
			out = both{out, more}
		}
	}
	return nil, err
}

func (p *parser) not() (expr, error) {
	if p.depth++; p.depth > deepest {
		return nil, &fault{p.peek().at, "too many brackets"}
	}
	defer func() { p.depth-- }()
	if t := p.peek(); t.kind == notToken || t.is("not") && !p.compares() {
		p.take()
		x, err := p.not()
		if err != nil {
			return nil, err
		}
		return negated{x}, nil
	}
	return p.one()
}

// compares says whether the next token is a column: an operator follows it.
func (p *parser) compares() bool {
	k := p.peek().kind
	return (k == wordToken || k == quotedToken) && p.tokens[p.next+1].kind == opToken
}

func (p *parser) one() (expr, error) {
	if p.compares() {
		return p.comparison()
	}
	switch t := p.take(); t.kind {
	case openToken:
		x, err := p.any()
		if err != nil {
			return nil, err
		}
		if c := p.take(); c.kind != closeToken {
			return nil, &fault{t.at, "a ( without its )"}
		}
		return x, nil
	case quotedToken:
		return newText(t.text), nil
	case patternToken:
		re, err := compile(t)
		return matching{re}, err
	case wordToken:
		if t.is("and") || t.is("or") {
			return nil, &fault{t.at, "what comes before " + t.text + "?"}
		}
		end := t.end
		for n := p.peek(); n.kind == wordToken && !n.is("and") && !n.is("or") && !n.is("not") && !p.compares(); n = p.peek() {
			end = p.take().end
		}
		return newText(string(p.runes[t.at:end])), nil
	case opToken:
		return nil, &fault{t.at, "which column? Tab completes names"}
	case closeToken:
		return nil, &fault{t.at, "something is missing before )"}
	case endToken, notToken:
		return nil, &fault{t.at, "something is missing here"}
	}
	return nil, nil
}

func (p *parser) comparison() (expr, error) {
	column, op, value := p.take(), p.take(), p.take()
	c := versus{column: column, op: op.text, value: value}
	switch value.kind {
	case wordToken, quotedToken, patternToken:
	case endToken, opToken, openToken, closeToken, notToken:
		return nil, &fault{value.at, "compare with what?"}
	}
	var err error
	switch {
	case op.text == "~" || op.text == "!~":
		c.re, err = compile(value)
	case value.kind == patternToken:
		err = &fault{value.at, "a pattern needs ~ before it"}
	default:
		c.text = newText(value.text)
	}
	return c, err
}

// mostSteps is how many steps a pattern may have. Its engine takes time linear in the text times the steps,
// and repetition makes many of few characters: (x*){999} would hold the screen for minutes.
const mostSteps = 300

// compile makes a pattern, which ignores case if it has no capital.
func compile(t token) (*regexp.Regexp, error) {
	prefix := "(?i)"
	if capital(t.text) {
		prefix = ""
	}
	parsed, err := syntax.Parse(prefix+t.text, syntax.Perl)
	if err == nil {
		if prog, err := syntax.Compile(parsed.Simplify()); err != nil || len(prog.Inst) > mostSteps {
			return nil, &fault{t.at, "this pattern repeats too much: it would take too long"}
		}
	}
	re, err := regexp.Compile(prefix + t.text)
	if err != nil {
		says := err.Error()
		says = strings.TrimPrefix(says, "error parsing regexp: ")
		return nil, &fault{t.at, "no pattern: " + strings.ReplaceAll(says, prefix, "")}
	}
	return re, nil
}

// capital says whether a text has a capital, so that case counts. The letters of escapes as \S do not.
func capital(text string) bool {
	escaped := false
	for _, c := range text {
		if unicode.IsUpper(c) && !escaped {
			return true
		}
		escaped = c == '\\' && !escaped
	}
	return false
}
