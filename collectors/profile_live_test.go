// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// profiledVariable makes the test of this file the load.
const profiledVariable = "BPF60_TEST_PROFILED"

// profiledTime is what the calling thread has run for: other tasks take nothing away from it.
func profiledTime() int64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Sec*1e9 + ts.Nsec
}

//go:noinline
func profiledThrice(d time.Duration) (x uint64) {
	for end := profiledTime() + int64(d); profiledTime() < end; {
		for i := range uint64(20_000) {
			x = x*3 + i
		}
	}
	return x
}

//go:noinline
func profiledOnce(d time.Duration) (x uint64) {
	for end := profiledTime() + int64(d); profiledTime() < end; {
		for i := range uint64(20_000) {
			x = x*5 + i
		}
	}
	return x
}

// profiledCalls reads zeroes, a time at work in the kernel. The race detector would look at each byte of a
// read that it knows of, for longer than the kernel takes.
//
//go:noinline
func profiledCalls(fd int, b []byte, d time.Duration) {
	for end := profiledTime() + int64(d); profiledTime() < end; {
		for range 4 {
			_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		}
	}
}

// profiledOnly runs nothing else, but for a look at the clock each millisecond or so.
//
//go:noinline
func profiledOnly(d time.Duration) (x uint64) {
	for end := profiledTime() + int64(d); profiledTime() < end; {
		for i := range uint64(2_000_000) {
			x = x*7 + i
		}
	}
	return x
}

// profiledAlone is what the variable is for a load of profiledOnly.
const profiledAlone = "alone"

// profiled is the load: it ends with its standard input.
func profiled() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	runtime.LockOSThread()
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		for cpu := range 4096 {
			if set.IsSet(cpu) {
				set.Zero()
				set.Set(cpu)
				break
			}
		}
		_ = unix.SchedSetaffinity(0, &set)
	}
	fd, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	b := make([]byte, 64<<10)
	fmt.Fprintln(os.Stdout, "running")
	for {
		select {
		case <-ended:
			return
		default:
		}
		if os.Getenv(profiledVariable) == profiledAlone {
			profiledOnly(10 * time.Millisecond)
			continue
		}
		profiledThrice(3 * time.Millisecond)
		profiledOnce(time.Millisecond)
		profiledCalls(fd, b, time.Millisecond)
	}
}

// startProfiled starts the load, from a copy of this program if path names one.
func startProfiled(t *testing.T, path, what string) (pid int) {
	t.Helper()
	cmd := exec.Command(path, "-test.run", "^TestProfileLive$")
	cmd.Env = append(os.Environ(), profiledVariable+"="+what, "GODEBUG=asyncpreemptoff=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "running\n" {
		t.Fatalf("the load says %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// TestProfileLive profiles a process whose functions run three to one, and one at work in the kernel; once
// more when its file is deleted.
func TestProfileLive(t *testing.T) {
	if os.Getenv(profiledVariable) != "" {
		profiled()
		return
	}
	k := bpf.Inspect()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("its own file", func(t *testing.T) { profileSplit(t, k, startProfiled(t, self, "1"), 2000) })
	t.Run("a deleted file", func(t *testing.T) {
		gone := filepath.Join(t.TempDir(), "gone")
		b, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(gone, b, 0o700); err != nil {
			t.Fatal(err)
		}
		pid := startProfiled(t, gone, "1")
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		profileSplit(t, k, pid, 300)
	})
}

// profileSplit profiles the load until there are enough samples.
func profileSplit(t *testing.T, k *bpf.Kernel, pid int, enough uint64) {
	t.Helper()
	p := NewProfiler(k, NewFS(""), Target{Kind: ProcessTarget, Process: Process{TGID: int32(pid)}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.open = func(int) (profileReader, int, error) {
		const hz = 997 // the test is shorter so
		r, err := bpf.OpenProfile(k, hz, []bpf.Filter{{Kind: bpf.FilterProcess, ID: uint64(pid)}})
		if err != nil {
			return nil, 0, err
		}
		return &countingReader{r, func(seen uint64) {
			if seen >= enough {
				cancel()
			}
		}, 0}, hz, nil
	}
	prof, err := p.Run(ctx, 5*time.Minute) // on a host that lets it run
	if err != nil {
		t.Fatal(err)
	}
	if prof.Processes != 1 || prof.Gone != 0 || prof.Samples < enough || prof.Lost != 0 {
		t.Errorf("%d samples of %d processes, %d gone, %d lost: want %d of the one", prof.Samples, prof.Processes, prof.Gone, prof.Lost, enough)
	}
	in := make(map[string]uint64) // samples by function of ours
	reads := uint64(0)            // of which of profiledCalls the kernel reads
	for i := range prof.Stacks {
		s := &prof.Stacks[i]
		kernel, user := false, ""
		for _, f := range s.Frames {
			frame := prof.Frames[f]
			name, ours := strings.CutPrefix(frame.Name.String(), "bpf60/collectors.profiled")
			if ours {
				user = name
			}
			kernel = kernel || frame.Kernel && strings.Contains(frame.Name.String(), "vfs_read")
		}
		in[user] += s.Count
		if kernel && user == "Calls" {
			reads += s.Count
		}
	}
	share := 100 * float64(in["Thrice"]) / float64(in["Thrice"]+in["Once"])
	if in["Thrice"] == 0 || in["Once"] == 0 || enough >= 1000 && math.Abs(share-75) > 5 {
		t.Errorf("Thrice has %.1f%% of %v, want 75 within 5", share, in)
	}
	if in["Calls"] == 0 || reads < in["Calls"]/2 {
		t.Errorf("of %d samples in system calls the kernel reads in %d", in["Calls"], reads)
	}
	if prof.Unnamed*10 > prof.Named {
		t.Errorf("%d frames of %d without a name", prof.Unnamed, prof.Named+prof.Unnamed)
	}
}

// countingReader tells how many samples came through.
type countingReader struct {
	profileReader
	tell func(uint64)
	seen uint64
}

func (r *countingReader) Drain(each func(*bpf.ProfileSample)) error {
	err := r.profileReader.Drain(func(s *bpf.ProfileSample) { r.seen++; each(s) })
	r.tell(r.seen)
	return err
}
