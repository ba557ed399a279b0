// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var a aside[int]
		if _, err := a.take(ctx, time.Second); !errors.Is(err, errNoAnswer) || a.open() {
			t.Error("an answer without a question")
		}
		slow := make(chan struct{})
		a.ask(time.Second, func() (int, error) { <-slow; return 7, nil })
		a.ask(2*time.Second, func() (int, error) { return 8, nil }) // one at a time
		if a.began != time.Second || !a.open() {
			t.Errorf("asked at %v, want 1 s", a.began)
		}
		before := time.Now()
		if _, err := a.take(ctx, 100*time.Millisecond); !errors.Is(err, errNoAnswer) || time.Since(before) != 100*time.Millisecond {
			t.Errorf("take of what hangs took %v and said %v, want 100 ms and no answer", time.Since(before), err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		before = time.Now()
		if _, err := a.take(ended, time.Hour); !errors.Is(err, errNoAnswer) || time.Since(before) != 0 {
			t.Error("take outlasts its context")
		}
		close(slow)
		if got, err := a.take(ctx, time.Second); got != 7 || err != nil || a.open() {
			t.Errorf("take = %d, %v, want 7", got, err)
		}
		want := errors.New("no")
		a.ask(0, func() (int, error) { return 0, want })
		synctest.Wait()
		if _, err := a.take(ctx, 0); !errors.Is(err, want) {
			t.Errorf("take = %v, want %v", err, want)
		}
		a.ask(0, func() (int, error) { panic("x") })
		if _, err := a.take(ctx, time.Second); err == nil || errors.Is(err, errNoAnswer) {
			t.Errorf("take of a panic = %v, want its message", err)
		}
	})
}
