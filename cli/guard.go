// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"reflect"
	"runtime/debug"

	tea "github.com/charmbracelet/bubbletea"
)

// guard is the model with its panics caught. Bubble Tea catches them too, but prints those of a
// command into the alternate screen, where they vanish with it.
type guard struct {
	tea.Model
	crashed func(ending)
	dead    *bool  // a model that panicked is not called again
	began   func() // with Init
	drawn   func() // with each view
}

func newGuard(m tea.Model, crashed func(ending)) guard {
	return guard{Model: m, crashed: crashed, dead: new(bool), began: func() {}, drawn: func() {}}
}

// Init calls the model's Init.
func (g guard) Init() (cmd tea.Cmd) {
	defer g.catch()
	g.began()
	return g.wrap(g.Model.Init())
}

// Update calls the model's Update.
func (g guard) Update(msg tea.Msg) (m tea.Model, cmd tea.Cmd) {
	if *g.dead {
		return g, nil
	}
	m = g
	defer g.catch()
	next, cmd := g.Model.Update(msg)
	g.Model = next
	return g, g.wrap(cmd)
}

// View calls the model's View.
func (g guard) View() string {
	if *g.dead {
		return ""
	}
	defer g.catch()
	g.drawn()
	return g.Model.View()
}

func (g guard) catch() {
	if r := recover(); r != nil {
		*g.dead = true
		g.crashed(byPanic(r, debug.Stack()))
	}
}

// wrap catches the panics of a command and of the commands in the batch or sequence it returns.
func (g guard) wrap(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				g.crashed(byPanic(r, debug.Stack()))
			}
		}()
		return g.wrapList(cmd())
	}
}

// wrapList reaches into lists of commands by reflection: the type of a sequence is not exported.
func (g guard) wrapList(msg tea.Msg) tea.Msg {
	v := reflect.ValueOf(msg)
	if !v.IsValid() || v.Kind() != reflect.Slice || v.Type().Elem() != reflect.TypeFor[tea.Cmd]() {
		return msg
	}
	out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	for i := range v.Len() {
		cmd, _ := v.Index(i).Interface().(tea.Cmd)
		out.Index(i).Set(reflect.ValueOf(g.wrap(cmd)))
	}
	return out.Interface()
}
