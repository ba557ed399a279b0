// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identity is the person in front of the terminal, who is not always the user we run as.
type identity struct {
	uid, gid int
	home     string // "" if unknown

	// lent says that we run as root on behalf of uid (sudo): its files are read and written with
	// its rights, or a sudoers rule for bpf60 alone would read and create any file of the host.
	lent bool

	// changed says that somebody changed identity on the way here (sudo, pkexec, doas, set-user-ID,
	// file capabilities). Then variables that name files are not to be trusted.
	changed bool
}

func whoami(env func(string) string) identity {
	id := identity{uid: os.Getuid(), gid: os.Getgid(), home: env("HOME")}
	id.changed = env("SUDO_UID") != "" || env("PKEXEC_UID") != "" || env("DOAS_USER") != "" || secure()
	if os.Geteuid() != 0 {
		return id
	}
	uid, err := strconv.ParseUint(env("SUDO_UID"), 10, 31)
	if err != nil || uid == 0 {
		return id
	}
	id.uid, id.gid, id.home, id.lent = int(uid), int(uid), "", true
	if gid, err := strconv.ParseUint(env("SUDO_GID"), 10, 31); err == nil {
		id.gid = int(gid)
	}
	if u, err := user.LookupId(strconv.Itoa(id.uid)); err == nil {
		id.home = u.HomeDir
	}
	return id
}

// secure is the kernel's own word for a changed identity: AT_SECURE of the auxiliary vector.
func secure() bool {
	const atSecure = 23
	vec, err := unix.Auxv()
	if err != nil {
		return os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid()
	}
	for _, v := range vec {
		if v[0] == atSecure {
			return v[1] != 0
		}
	}
	return false
}

// userConfig is where the person's own configuration is, "" if that is unknown.
func (id identity) userConfig(env func(string) string) string {
	if !id.changed {
		if f := env("BPF60_CONFIG"); f != "" {
			return f
		}
		if dir := env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "bpf60", "config.toml")
		}
	}
	if id.home == "" {
		return ""
	}
	return filepath.Join(id.home, ".config", "bpf60", "config.toml")
}

// do runs f with the rights that the person has on files. Under sudo that is a thread of its own
// with that user's fsuid, fsgid and no other groups; the thread is thrown away afterwards, so
// nothing has to be put back.
func (id identity) do(f func() error) error {
	if !id.lent {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("internal error: %v", r)
				}
			}()
			if err := id.assume(); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-result
}

// assume lends the calling thread the person's rights on files. The kernel drops CAP_DAC_OVERRIDE
// and its like from the effective set with the fsuid.
func (id identity) assume() error {
	// Changing the fsuid makes the process undumpable, and then the kernel gives its files in /proc
	// to root and no kprobe program can be loaded. We were dumpable before, so we are afterwards.
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("reading whether the process is dumpable: %w", err)
	}
	gid := uint32(id.gid)
	// The raw call changes this thread alone; the one of package syscall changes all of them.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&gid)), 0); errno != 0 {
		return fmt.Errorf("taking the groups of user %d: %w", id.uid, errno)
	}
	// Both report no failure; asking with -1 does.
	_ = unix.Setfsgid(id.gid)
	if got, _ := unix.SetfsgidRetGid(-1); got != id.gid {
		return fmt.Errorf("taking the group %d of user %d: it stayed %d", id.gid, id.uid, got)
	}
	_ = unix.Setfsuid(id.uid)
	if got, _ := unix.SetfsuidRetUid(-1); got != id.uid {
		return fmt.Errorf("taking the rights of user %d: they stayed those of %d", id.uid, got)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable), 0, 0, 0); dumpable == 1 && err != nil {
		return fmt.Errorf("making the process dumpable again: %w", err)
	}
	return nil
}
