// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// mayCast is the constant of include/walk.bpf.h.
const mayCast = "may_cast"

// canCast says whether programs can give up the verifier's trust in a pointer (6.2): include/walk.bpf.h.
func (k *Kernel) canCast() bool {
	types, err := k.types().Kernel()
	if err != nil {
		return false
	}
	var cast *btf.Func
	return types.TypeByName("bpf_rdonly_cast", &cast) == nil
}

// cast tells the programs that are loaded afterwards whether to give up trust.
func (o *object) cast(on bool) error {
	o.casts = on
	return o.set(mayCast, on)
}

// mayBeCast says whether a program may have been refused for giving up trust: by the verifier, not for
// want of a privilege or of the hook.
func (o *object) mayBeCast(err error) bool {
	return o.casts && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES))
}

// loadTrusting loads a program that was refused as one that keeps trust, which only takes longer. refused
// is returned if that was not the reason.
func (o *object) loadTrusting(name string, refused error) (*ebpf.Program, error) {
	if err := o.cast(false); err != nil {
		return nil, err
	}
	p, err := o.load(name)
	if err != nil {
		return nil, errors.Join(o.kernel.explain("loading "+name, refused), o.cast(true))
	}
	return p, nil
}
