// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

// Command init is process 1 of a guest of the kernel matrix. It mounts what a small system has,
// does the steps of its plan, says after each what is left in the kernel, and powers off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"bpf60/test/kernels/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: only for process 1 of a test guest: run go run ./test/kernels")
		os.Exit(2)
	}
	// Process 1 must not end: the kernel would panic, and the cause would be lost.
	defer syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	if err := mountAll(); err != nil {
		fmt.Println("init:", err) // no port yet: the console is all there is
		return
	}
	port, err := openPort(wire.Port)
	if err != nil {
		fmt.Println("init:", err)
		return
	}
	say := func(r wire.Record) {
		if err := wire.Encode(port, r); err != nil {
			fmt.Println("init:", err)
		}
	}
	if err := follow(say); err != nil {
		say(wire.Record{Error: err.Error()})
	}
	say(wire.Record{Log: kernelLog()})
	say(wire.Record{Done: true})
	drain(port)
}

// follow does the steps of the plan. A panic of ours becomes an error.
func follow(say func(wire.Record)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("init panicked: %v", p)
		}
	}()
	b, err := os.ReadFile(wire.PlanPath)
	if err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	var plan wire.Plan
	if err := json.Unmarshal(b, &plan); err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	boot, err := identity()
	if err != nil {
		return err
	}
	say(wire.Record{Boot: boot})
	if err := errors.Join(loopbackUp(), loadModules()); err != nil {
		return err
	}
	var kept ledger // what is left is told once, of the step that left it
	if kept.objects, err = objects(); err != nil {
		return err
	}
	kept.perf = perfEvents(anyProcess)
	for _, s := range plan.Steps {
		say(wire.Record{Begin: s.Name})
		r := do(s, &kept)
		say(wire.Record{Result: &r})
	}
	return nil
}
