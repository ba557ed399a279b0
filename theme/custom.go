// SPDX-License-Identifier: Apache-2.0

package theme

import (
	"fmt"
	"image/color"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// meanings are the styles of a theme that can be given another look, by their name in the
// configuration.
func (t *Theme) meanings() map[string]*Style {
	return map[string]*Style{
		"title": &t.Title, "dim": &t.Dim, "focus": &t.Focus, "ok": &t.OK, "warn": &t.Warn, "crit": &t.Crit,
		"accent": &t.Accent, "alert": &t.Alert,
		"heat1": &t.Heat[0], "heat2": &t.Heat[1], "heat3": &t.Heat[2], "heat4": &t.Heat[3],
	}
}

// Meanings lists the names of the styles, in the order of the alphabet.
func Meanings() []string { return slices.Sorted(maps.Keys(new(Theme).meanings())) }

// Check returns what is wrong with a style of that name that looks so; nil if nothing is. The message
// names what is valid.
func Check(name, look string) error {
	if !slices.Contains(Meanings(), name) {
		return fmt.Errorf("no style is called %q: use %s", name, strings.Join(Meanings(), ", "))
	}
	_, err := parseLook(look)
	return err
}

// With returns the theme with styles that look otherwise, as far as the terminal can show it; what
// Check refuses stays as it is.
func (t Theme) With(looks map[string]string, profile colorprofile.Profile) Theme {
	if profile == colorprofile.NoTTY || profile == colorprofile.Unknown {
		return t
	}
	by := t.meanings()
	for name, text := range looks {
		style, ok := by[name]
		look, err := parseLook(text)
		if ok && err == nil {
			*style = look.style(profile)
		}
	}
	return t
}

// look is a style before it is known what the terminal can show.
type look struct {
	attributes []string // SGR parameters
	color      color.Color
}

// parseLook reads words such as "bold #ff5f57", "reverse yellow", "203", "none".
func parseLook(text string) (look, error) {
	var out look
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		switch word {
		case "none":
			continue
		case "bold", "dim", "italic", "underline", "reverse":
			out.attributes = append(out.attributes, map[string]string{"bold": "1", "dim": "2", "italic": "3", "underline": "4", "reverse": "7"}[word])
			continue
		}
		c, ok := parseColor(word)
		if !ok {
			return look{}, fmt.Errorf("%q is neither a colour nor an attribute: use #rrggbb, 0 to 255, black, red, green, yellow, blue, magenta, cyan, white, bright-red …, with bold, dim, italic, underline, reverse, or none", word)
		}
		if out.color != nil {
			return look{}, fmt.Errorf("%q has two colours: one is the foreground, reverse makes it the background", text)
		}
		out.color = c
	}
	return out, nil
}

func parseColor(word string) (color.Color, bool) {
	if hex, ok := strings.CutPrefix(word, "#"); ok {
		n, err := strconv.ParseUint(hex, 16, 24)
		return color.RGBA{R: uint8(n >> 16), G: uint8(n >> 8), B: uint8(n), A: 255}, err == nil && len(hex) == 6
	}
	if n, err := strconv.ParseUint(word, 10, 8); err == nil {
		if n < 16 {
			return ansi.BasicColor(n), true
		}
		return ansi.IndexedColor(n), true
	}
	base := 0
	if rest, ok := strings.CutPrefix(word, "bright-"); ok {
		word, base = rest, 8
	}
	i := slices.Index([]string{"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"}, word)
	return ansi.BasicColor(base + max(i, 0)), i >= 0
}

// style is the look as far as the terminal can show it: without colours the attributes remain.
func (l look) style(profile colorprofile.Profile) Style {
	parameters := slices.Clone(l.attributes)
	if l.color != nil {
		switch c := profile.Convert(l.color).(type) {
		case nil:
		case ansi.BasicColor:
			base := 30
			if c >= 8 {
				base = 90 - 8
			}
			parameters = append(parameters, strconv.Itoa(base+int(c)))
		case ansi.IndexedColor:
			parameters = append(parameters, "38;5;"+strconv.Itoa(int(c)))
		default:
			r, g, b, _ := c.RGBA()
			parameters = append(parameters, fmt.Sprintf("38;2;%d;%d;%d", r>>8, g>>8, b>>8))
		}
	}
	if len(parameters) == 0 {
		return Style{}
	}
	return sgr(strings.Join(parameters, ";"))
}
