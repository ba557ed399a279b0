// SPDX-License-Identifier: Apache-2.0

package collectors

import "strings"

// The classes of waits: what a thread waits for, as far as the functions on its stack tell.
const (
	WaitDisk      = "disk"
	WaitLock      = "lock"
	WaitJournal   = "fs journal"
	WaitNetworkFS = "network fs"
	WaitFuse      = "fuse"
	WaitReclaim   = "reclaim"
	WaitSwap      = "swap"
	WaitDirty     = "dirty limit"
	WaitFrozen    = "frozen fs"
	WaitPipe      = "pipe"
	WaitFutex     = "futex"
	WaitPoll      = "poll"
	WaitReceive   = "recv"
	WaitSend      = "send"
	WaitConnect   = "connect"
	WaitAccept    = "accept"
	WaitSleep     = "sleep"
	WaitChild     = "child"
	WaitVfork     = "vfork"
	WaitSignal    = "signal"
	WaitTTY       = "tty"
	WaitRCU       = "rcu"
	WaitStopped   = "stopped"
	WaitOther     = "other"
	WaitUnnamed   = "unnamed" // its functions are still looked for
)

// classRule gives a class to functions that begin like this.
type classRule struct {
	prefix, class string
}

// outerClasses are told by any function of the stack: what they wait for inside is how, not what.
// A page that is waited for within NFS is no disk's.
func outerClasses() []classRule {
	return []classRule{
		{"rpc_", WaitNetworkFS},
		{"nfs_", WaitNetworkFS},
		{"nfs3_", WaitNetworkFS},
		{"nfs4", WaitNetworkFS},
		{"__nfs", WaitNetworkFS},
		{"nlmclnt_", WaitNetworkFS},
		{"cifs_", WaitNetworkFS},
		{"smb2_", WaitNetworkFS},
		{"SMB2_", WaitNetworkFS},
		{"ceph_", WaitNetworkFS},
		{"p9_", WaitNetworkFS},
		{"v9fs_", WaitNetworkFS},
		{"afs_", WaitNetworkFS},
		{"gfs2_", WaitNetworkFS},
		{"ocfs2_", WaitNetworkFS},
		{"dlm_", WaitNetworkFS},
		{"lustre_", WaitNetworkFS},
		{"ll_file_", WaitNetworkFS},
		{"fuse_", WaitFuse},
		{"__fuse_", WaitFuse},
		{"request_wait_answer", WaitFuse},
		{"__sb_start_write", WaitFrozen},
		{"sb_start_write", WaitFrozen},
		{"freeze_super", WaitFrozen},
		{"thaw_super", WaitFrozen},
		{"wait_for_partially_frozen", WaitFrozen},
		{"balance_dirty_pages", WaitDirty},
		{"wb_wait_for_completion", WaitDirty},
		{"do_swap_page", WaitSwap},
		{"swapin_", WaitSwap},
		{"swap_read", WaitSwap},
		{"try_to_free_", WaitReclaim},
		{"do_try_to_free_pages", WaitReclaim},
		{"shrink_node", WaitReclaim},
		{"shrink_slab", WaitReclaim},
		{"reclaim_throttle", WaitReclaim},
		{"throttle_direct_reclaim", WaitReclaim},
		{"balance_pgdat", WaitReclaim},
		{"congestion_wait", WaitReclaim},
		{"wait_iff_congested", WaitReclaim},
		{"mem_cgroup_handle_over_high", WaitReclaim},
		{"__mem_cgroup_handle_over_high", WaitReclaim},
		{"mem_cgroup_oom_synchronize", WaitReclaim},
		{"compact_zone", WaitReclaim},
		{"jbd2_", WaitJournal},
		{"wait_transaction_locked", WaitJournal},
		{"start_this_handle", WaitJournal},
		{"do_get_write_access", WaitJournal},
		{"add_transaction_credits", WaitJournal},
		{"kjournald2", WaitJournal},
		{"xlog_", WaitJournal},
		{"xfs_log_", WaitJournal},
		{"xfsaild", WaitJournal},
		{"xfs_trans_", WaitJournal},
		{"wait_log_commit", WaitJournal},
		{"btrfs_commit_transaction", WaitJournal},
		{"wait_current_trans", WaitJournal},
		{"btrfs_sync_log", WaitJournal},
		{"txg_", WaitJournal},
		{"zil_", WaitJournal},
		{"f2fs_issue_checkpoint", WaitJournal},
	}
}

// innerClasses are told by the innermost function that has one.
func innerClasses() []classRule {
	return []classRule{
		{"wait_for_vfork_done", WaitVfork},
		{"futex_", WaitFutex},
		{"__futex_", WaitFutex},
		{"do_futex", WaitFutex},
		{"ep_poll", WaitPoll},
		{"do_epoll_", WaitPoll},
		{"do_sys_poll", WaitPoll},
		{"do_poll", WaitPoll},
		{"do_select", WaitPoll},
		{"poll_schedule_timeout", WaitPoll},
		{"io_cqring_wait", WaitPoll},
		{"read_events", WaitPoll},
		{"sk_wait_data", WaitReceive},
		{"__skb_wait_for_more_packets", WaitReceive},
		{"__skb_recv", WaitReceive},
		{"tcp_recvmsg", WaitReceive},
		{"unix_stream_read_generic", WaitReceive},
		{"unix_stream_data_wait", WaitReceive},
		{"__unix_dgram_recvmsg", WaitReceive},
		{"vsock_", WaitReceive},
		{"virtio_transport_recv", WaitReceive},
		{"inet_csk_accept", WaitAccept},
		{"inet_csk_wait_for_connect", WaitAccept},
		{"unix_accept", WaitAccept},
		{"sk_stream_wait_memory", WaitSend},
		{"sock_alloc_send_pskb", WaitSend},
		{"sock_wait_for_wmem", WaitSend},
		{"unix_wait_for_peer", WaitSend},
		{"inet_wait_for_connect", WaitConnect},
		{"__inet_stream_connect", WaitConnect},
		{"pipe_", WaitPipe},
		{"anon_pipe_", WaitPipe},
		{"fifo_", WaitPipe},
		{"wait_for_partner", WaitPipe},
		{"eventfd_read", WaitPipe},
		{"do_nanosleep", WaitSleep},
		{"hrtimer_nanosleep", WaitSleep},
		{"common_nsleep", WaitSleep},
		{"msleep", WaitSleep},
		{"usleep_range", WaitSleep},
		{"do_wait", WaitChild},
		{"kernel_wait", WaitChild},
		{"do_sigtimedwait", WaitSignal},
		{"sigsuspend", WaitSignal},
		{"__do_sys_pause", WaitSignal},
		{"__x64_sys_pause", WaitSignal},
		{"signalfd_", WaitSignal},
		{"n_tty_", WaitTTY},
		{"tty_", WaitTTY},
		{"wait_woken", WaitOther},
		{"synchronize_rcu", WaitRCU},
		{"__wait_rcu_gp", WaitRCU},
		{"rcu_barrier", WaitRCU},
		{"synchronize_srcu", WaitRCU},
		{"__synchronize_srcu", WaitRCU},
		{"ptrace_stop", WaitStopped},
		{"do_signal_stop", WaitStopped},
		{"__refrigerator", WaitStopped},
		{"do_freezer_trap", WaitStopped},
		{"mutex_", WaitLock},
		{"__mutex_", WaitLock},
		{"rwsem_", WaitLock},
		{"down_", WaitLock},
		{"__down", WaitLock},
		{"rt_mutex_", WaitLock},
		{"__rt_mutex_", WaitLock},
		{"ww_mutex_", WaitLock},
		{"percpu_down_", WaitLock},
		{"flock_lock_", WaitLock},
		{"posix_lock_", WaitLock},
		{"locks_lock_", WaitLock},
		{"folio_wait_", WaitDisk},
		{"__folio_lock", WaitDisk},
		{"wait_on_page_", WaitDisk},
		{"__lock_page", WaitDisk},
		{"lock_page", WaitDisk},
		{"__wait_on_buffer", WaitDisk},
		{"__lock_buffer", WaitDisk},
		{"submit_bio_wait", WaitDisk},
		{"blk_", WaitDisk},
		{"__blk", WaitDisk},
		{"blkdev_", WaitDisk},
		{"bio_", WaitDisk},
		{"dio_", WaitDisk},
		{"__iomap_dio", WaitDisk},
		{"iomap_", WaitDisk},
		{"rq_qos_", WaitDisk},
		{"wbt_", WaitDisk},
		{"nvme_", WaitDisk},
		{"scsi_", WaitDisk},
		{"sd_", WaitDisk},
		{"md_", WaitDisk},
		{"raid", WaitDisk},
		{"dm_", WaitDisk},
		{"filemap_", WaitDisk},
		{"block_", WaitDisk},
		{"loop_", WaitDisk},
		{"__filemap_", WaitDisk},
	}
}

// plumbing says whether a function is the scheduler's or a lock's own: the wait function is who
// called it. The kernel leaves most of them out of stacks (in_sched_functions); modules and old
// kernels do not.
func plumbing(fn string) (is, lock bool) {
	switch fn {
	case "schedule", "__schedule", "schedule_timeout", "io_schedule", "io_schedule_timeout", "io_schedule_prepare",
		"schedule_hrtimeout_range", "schedule_hrtimeout_range_clock", "schedule_timeout_uninterruptible", "schedule_timeout_killable",
		"schedule_timeout_interruptible", "bit_wait", "bit_wait_io", "bit_wait_timeout", "bit_wait_io_timeout",
		"__wait_on_bit", "__wait_on_bit_lock", "out_of_line_wait_on_bit", "out_of_line_wait_on_bit_lock", "out_of_line_wait_on_bit_timeout",
		"wait_for_completion", "__wait_for_common", "do_wait_for_common", "wait_for_common", "wait_for_completion_killable",
		"wait_for_completion_io", "wait_for_completion_state", "wait_for_completion_timeout", "wait_for_completion_io_timeout",
		"preempt_schedule", "preempt_schedule_common", "__switch_to", "context_switch":
		return true, false
	case "mutex_lock", "mutex_lock_io", "mutex_lock_killable", "mutex_lock_interruptible", "__mutex_lock",
		"__mutex_lock_slowpath", "__mutex_lock_killable_slowpath", "__mutex_lock_interruptible_slowpath", "mutex_lock_nested",
		"schedule_preempt_disabled", "down", "down_killable", "down_interruptible", "__down", "__down_common", "__down_killable",
		"down_read", "down_read_killable", "down_read_interruptible", "down_write", "down_write_killable",
		"rwsem_down_read_slowpath", "rwsem_down_write_slowpath", "rt_mutex_lock", "rt_mutex_slowlock", "__rt_mutex_slowlock",
		"ww_mutex_lock", "call_rwsem_down_read_failed", "call_rwsem_down_write_failed":
		return true, true
	}
	return false, false
}

// frameName is a function's name without what the compiler appended to a copy of it.
func frameName(fn string) string {
	for _, mark := range []string{".constprop.", ".isra.", ".part.", ".cold", ".llvm."} {
		if i := strings.Index(fn, mark); i > 0 {
			fn = fn[:i]
		}
	}
	return fn
}

// classifier tells what a stack waits for.
type classifier struct{ outer, inner []classRule }

func newClassifier() classifier { return classifier{outerClasses(), innerClasses()} }

// of returns the wait function of a stack, innermost first, and the class of the wait. Lock and
// iowait are what the kernel itself says of the thread. Without a frame the function is empty.
func (c classifier) of(frames []string, lock, iowait bool) (fn, class string) {
	first := -1
	for i, f := range frames {
		is, isLock := plumbing(frameName(f))
		lock = lock || is && isLock && first < 0
		if !is && first < 0 {
			first = i
		}
	}
	if first < 0 {
		first = 0
		if len(frames) > 0 {
			fn = frameName(frames[0])
		}
	} else {
		fn = frameName(frames[first])
	}
	if fn == "kernel_clone" || fn == "_do_fork" { // wait_for_vfork_done is often compiled into them
		return fn, WaitVfork
	}
	if fn == "percpu_rwsem_wait" { // of a writer it is mostly its file system that is frozen; of others a lock
		for _, f := range frames {
			switch frameName(f) {
			case "mnt_want_write", "mnt_want_write_file", "vfs_write", "vfs_writev", "do_iter_write", "do_page_mkwrite", "vfs_fallocate", "do_truncate":
				return fn, WaitFrozen
			}
		}
		lock = true
	}
	for _, f := range frames[min(first, len(frames)):] {
		if class = match(c.outer, f); class != "" {
			return fn, class
		}
	}
	if lock {
		return fn, WaitLock
	}
	for _, f := range frames[min(first, len(frames)):] {
		if class = match(c.inner, f); class != "" {
			return fn, class
		}
	}
	if iowait {
		return fn, WaitDisk
	}
	return fn, WaitOther
}

func match(rules []classRule, fn string) string {
	for _, r := range rules {
		if strings.HasPrefix(fn, r.prefix) {
			return r.class
		}
	}
	return ""
}

// deviceOf is the disk that a kernel thread serves, by the name the kernel gave it; empty for any
// other. What a process calls itself says nothing.
func deviceOf(comm string) string {
	for _, prefix := range []string{"jbd2/", "xfsaild/", "xfs-log/", "xfs-buf/", "xfs-conv/", "xfs-cil/", "f2fs_ckpt-", "nvme-wq-"} {
		dev, ok := strings.CutPrefix(comm, prefix)
		if !ok {
			continue
		}
		if prefix == "jbd2/" { // jbd2/vda1-8: the number is the inode of the journal
			if i := strings.LastIndexByte(dev, '-'); i > 0 {
				dev = dev[:i]
			}
		}
		return dev
	}
	return ""
}
