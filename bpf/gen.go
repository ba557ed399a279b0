// SPDX-License-Identifier: Apache-2.0

package bpf

// The objects are committed: building needs no clang. `make generate` makes them anew with the
// pinned one, and `make check` fails if that changes a byte. Each object serves amd64 and arm64, but
// for those that read the registers of a system call.

//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type sched_counts -type wake_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" sched sched.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type task -type task_counts -type turn -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" tasks tasks.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type stall -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" stalls stalls.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type holder -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" sockets sockets.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type exec_totals -type exec_key -type exec_count -type dead_key -type dead_count -type process -type fork_count -type exec_event -type exit_event -type reap_event -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" exec exec.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type signal_counts -type signal_totals -type signal_event -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" signal signal.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type block_counts -type disk_table -type block_owner -type owner_had -type block_claim -type block_sums -type block_target -type block_event -type inflight -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" block block.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type softirq_counts -type hardirq_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" irqtime irqtime.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type off_counts -type off_key -type off_stack -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" offcpu offcpu.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type dns_event -type dns_counts -type dns_host -type dns_pair -type ask -type ask_key -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" dns dns.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type drop_event -type drop_key -type drop_socket -type drop_counts -type reason_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" drop drop.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type reclaim_counts -type stall_row -type reclaim_event -type oom_event -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" reclaim reclaim.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type kmem_totals -type allocator -type cache -type owner -type site -type narrowed -type focus -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" kmem kmem.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type cache_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" cachestat cachestat.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type flow_cpu -type flow_set -type flow_process -type flow_peer -type flow_peer_counts -type flow_socket -type flow_event -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" flow flow.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type file_key -type file_birth -type file_churn_key -type file_churn -type file_counts -type file_life -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" file file.bpf.c
//go:generate go tool bpf2go -tags linux -target amd64,arm64 -cc clang-19 -strip llvm-strip-19 -type open_event -type slow_event -type call_key -type call_row -type call_hist -type target_call -type error_key -type path_key -type path_counts -type totals -type control -type call_cpu -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" syscall syscall.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type slow_event -type slowfile_counts -type slow_wanted -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" slowfile slowfile.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type symbol -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" symbol symbol.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type profile_sample -type profile_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" profile profile.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" pidns pidns.bpf.c
