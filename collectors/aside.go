// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// aside asks one question at a time in a goroutine of its own, for reads that may never return: a
// dead mount, a file of a stuck device. Whoever asks waits as long as its patience lasts and looks
// again later. A goroutine that is stuck stays so until the kernel lets go of it.
type aside[T any] struct {
	answer chan asideAnswer[T] // nil: nothing is asked
	began  time.Duration       // when it was asked
}

type asideAnswer[T any] struct {
	value T
	err   error
}

// ask starts a question, unless one is open.
func (a *aside[T]) ask(now time.Duration, question func() (T, error)) {
	if a.answer != nil {
		return
	}
	answer := make(chan asideAnswer[T], 1) // room for the answer nobody waits for any more
	a.answer, a.began = answer, now
	go func() {
		var r asideAnswer[T]
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panic: %v", p)
			}
			answer <- r
		}()
		r.value, r.err = question()
	}()
}

// open says whether a question waits for its answer.
func (a *aside[T]) open() bool { return a.answer != nil }

// errNoAnswer says that a question is still open, or that none was asked.
var errNoAnswer = errors.New("no answer yet")

// take returns the answer to the open question: errNoAnswer if there is none after patience.
func (a *aside[T]) take(ctx context.Context, patience time.Duration) (T, error) {
	var none T
	if a.answer == nil {
		return none, errNoAnswer
	}
	select { // an answer that is there costs no timer
	case r := <-a.answer:
		a.answer = nil
		return r.value, r.err
	default:
	}
	if patience <= 0 {
		return none, errNoAnswer
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-a.answer:
		a.answer = nil
		return r.value, r.err
	case <-timer.C:
	case <-ctx.Done():
	}
	return none, errNoAnswer
}
