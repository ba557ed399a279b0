// SPDX-License-Identifier: Apache-2.0

package bpf

// The objects are committed: building needs no clang. `make generate` makes them anew with the
// pinned one, and `make check` fails if that changes a byte. Each object serves amd64 and arm64.

//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type sched_counts -type wake_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" sched sched.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type task -type task_counts -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" tasks tasks.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type stall -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" stalls stalls.bpf.c
//go:generate go tool bpf2go -tags linux -target bpfel -cc clang-19 -strip llvm-strip-19 -type holder -cflags "-O2 -g -Wall -Werror -mcpu=v3 -Iinclude" sockets sockets.bpf.c
