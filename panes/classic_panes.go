// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
)

func (p *Overview) classics(f Frame) []Classic {
	a := scoped(f)
	return slices.Concat(
		procps("uptime"), ofPackage("util-linux", "dmesg -T | tail"), procps("vmstat 1"),
		sysstat("mpstat -P ALL 1", "pidstat"+a.process("-p")+" 1", "iostat -xz"+flag("", a.disk)+" 1"),
		procps("free -m"), sysstat("sar -n DEV 1", "sar -n TCP,ETCP 1"), procps("top"+a.process("-p")))
}

func (p *CPU) classics(f Frame) []Classic {
	a := scoped(f)
	switch p.irqs.view {
	case softirqView:
		return append(bcc("softirqs 1"), sysstat("mpstat -I SCPU 1")...)
	case irqView:
		return slices.Concat(bcc("hardirqs 1"), sysstat("mpstat -I CPU 1"), procps("watch -d cat /proc/interrupts"))
	case offView:
		return append(bcc("offcputime -K"+a.process("-p")+" 5"), procps("ps -eo state,pid,wchan:30,comm")...)
	case timesView, cpuViews:
	}
	if a.pid != 0 {
		return append(sysstat("pidstat -uw"+a.process("-p")+" 1"), bcc("runqlat"+a.process("-p")+" 1", "cpudist"+a.process("-p")+" 1")...)
	}
	return slices.Concat(sysstat("mpstat -P ALL 1"), procps("vmstat 1"), bcc("runqlat 1", "runqlen 1", "cpudist 1"))
}

func (p *cpuPage) classics(Frame) []Classic {
	n := strconv.Itoa(p.cpu)
	return append(sysstat("mpstat -P "+n+" 1"), ofPackage("linux-perf", "perf sched record -C "+n+" sleep 10; perf sched timehist -C "+n)...)
}

func (p *offPage) classics(Frame) []Classic { return bcc("offcputime -K 5") }

func (p *Processes) classics(f Frame) []Classic {
	a := scoped(f)
	switch {
	case p.threads:
		return append(sysstat("pidstat -tu"+a.process("-p")+" 1"), procps("top -H"+a.process("-p"))...)
	case p.tree:
		return append(procps("ps axf -o pid,user,%cpu,rss,args"), ofPackage("psmisc", "pstree -p"+flag("", strconv.Itoa(int(a.pid))))...)
	}
	return append(sysstat("pidstat -urdw"+a.process("-p")+" 1"), procps("top"+a.process("-p"))...)
}

func (p *processPage) classics(Frame) []Classic { return ofProcess(p.info.PID) }

// ofProcess are the commands that show all of one process.
func ofProcess(pid int32) []Classic {
	a := about{pid: pid}
	n := strconv.Itoa(int(pid))
	return slices.Concat(
		sysstat("pidstat -urdw"+a.process("-p")+" 1", "pidstat -tu"+a.process("-p")+" 1"),
		bcc("runqlat"+a.process("-p")+" 1", "cpudist"+a.process("-p")+" 1", "offcputime"+a.process("-p")+" 5", "opensnoop"+a.process("-p"), "syscount"+a.process("-p")),
		ofPackage("iproute2", "ss -tinp"+a.held()),
		procps("cat /proc/"+n+"/status /proc/"+n+"/limits", "pmap -x "+n))
}

func (p *Memory) classics(f Frame) []Classic {
	a := scoped(f)
	switch p.view {
	case showWaits:
		return append(bcc("drsnoop"+a.process("-p")), sysstat("sar -B 1")...)
	case showKills:
		return append(bcc("oomkill"), ofPackage("util-linux", "dmesg -T | grep -i 'out of memory'")...)
	case showPages:
		return bcc("cachestat 1", "cachetop 1")
	case showWhere:
		return procps("cat /proc/meminfo", "free -m")
	case showLimits:
		return append(sysstat("sar -v 1"), procps("sysctl fs.file-nr fs.inode-nr kernel.pid_max")...)
	case showSlab, memoryViews:
	}
	if a.pid != 0 {
		return append(sysstat("pidstat -r"+a.process("-p")+" 1"), procps("pmap -x"+flag("", strconv.Itoa(int(a.pid))))...)
	}
	return slices.Concat(procps("free -m", "vmstat 1", "slabtop"), bcc("slabratetop 1"), sysstat("sar -r 1"))
}

func (p *slabPage) classics(Frame) []Classic {
	return append(procps("grep -e "+quote("^"+p.name+" ")+" /proc/slabinfo"),
		ofPackage("linux-perf", "perf record -a -g -e kmem:kmem_cache_alloc --filter "+quote("name == "+strconv.Quote(p.name))+" sleep 5")...)
}

func (p *Disk) classics(f Frame) []Classic {
	a := scoped(f)
	only := flag("-d ", a.disk)
	switch p.view {
	case latencyView:
		return bcc("biolatency -D 1", "biolatency -Q -D 1", "bitesize")
	case slowView:
		return bcc("biosnoop" + only)
	case ownerView:
		return append(bcc("biotop"), sysstat("pidstat -d"+a.process("-p")+" 1")...)
	case filesView:
		return ofPackage("coreutils", "df -hT", "df -i")
	case iostatView, diskViews:
	}
	if a.pid != 0 {
		return append(sysstat("pidstat -d"+a.process("-p")+" 1"), bcc("biotop")...)
	}
	return ofDisk(a.disk)
}

// ofDisk are the commands that show one disk, or all without a name.
func ofDisk(name string) []Classic {
	return slices.Concat(sysstat("iostat -xz"+flag("", name)+" 1"), bcc("biolatency -D 1", "biosnoop"+flag("-d ", name)), ofPackage("util-linux", "lsblk"+flag("/dev/", name)))
}

func (p *diskPage) classics(Frame) []Classic { return ofDisk(safe(p.name).String()) }

func (p *Network) classics(f Frame) []Classic {
	a := scoped(f)
	switch p.draw {
	case netErrors:
		return append(sysstat("sar -n EDEV 1"), ofPackage("iproute2", "ip -s link")...)
	case netSoft:
		return append(sysstat("sar -n SOFT 1"), procps("cat /proc/net/softnet_stat")...)
	case netSpaces:
		return append(ofPackage("util-linux", "lsns -t net"), ofPackage("iproute2", "nstat -az")...)
	case netDrops:
		return append(ofPackage("linux-perf", "perf trace -a -e skb:kfree_skb"), ofPackage("iproute2", "nstat -az | grep -i drop")...)
	case netDev, netDraws:
	}
	return ofInterface(a.iface)
}

// ofInterface are the commands that show one interface, or all without a name.
func ofInterface(name string) []Classic {
	out := append(sysstat("sar -n DEV,EDEV"+flag("--iface=", name)+" 1"), ofPackage("iproute2", "ip -s link show"+flag("dev ", name))...)
	if name == "" {
		return out
	}
	return append(out, ofPackage("ethtool", "ethtool -S "+quote(name))...)
}

func (p *ifacePage) classics(Frame) []Classic { return ofInterface(p.title) }

func (p *spacePage) classics(Frame) []Classic {
	return append(ofPackage("util-linux", "lsns -t net"), ofPackage("iproute2", "nstat -az")...)
}

func (p *dropPage) classics(Frame) []Classic {
	return ofPackage("linux-perf", "perf record -a -g -e skb:kfree_skb sleep 5; perf script")
}

func (p *TCP) classics(f Frame) []Classic {
	a := scoped(f)
	switch p.part {
	case tcpHappens:
		return happenedClassics(p.sections[p.at].id, a)
	case tcpDelays:
		return bcc("tcpconnlat"+a.process("-p"), "tcprtt")
	case tcpTables, tcpParts:
	}
	rates := sysstat("sar -n TCP,ETCP 1")
	ss := func(options string) []Classic {
		return append(ofPackage("iproute2", "ss "+options+a.destination()+a.held()), rates...)
	}
	switch p.view {
	case asListeners:
		return append(ofPackage("iproute2", "ss -tlnp"+a.held()), rates...)
	case asCounters:
		return append(ofPackage("iproute2", "nstat -az"), rates...)
	case asPeers:
		return ss("-tin")
	case asSockets, tcpViews:
	}
	return ss("-tinp")
}

// happenedClassics are the commands for a table of what happened to connections.
func happenedClassics(section string, a about) []Classic {
	switch section {
	case "ended":
		return bcc("tcplife" + a.process("-p"))
	case "states":
		return bcc("tcpstates")
	case "services", "processes":
		return bcc("tcpconnect"+a.process("-p"), "tcpaccept"+a.process("-p"), "tcptop"+a.process("-p"))
	}
	return bcc("tcpretrans", "tcpdrop", "tcplife"+a.process("-p"))
}

func (p *pathPage) classics(Frame) []Classic {
	return append(bcc("opensnoop", "filelife", "fileslower 10"), ofPackage("psmisc", "fuser -v "+quote(p.path))...)
}

func (p *peerPage) classics(Frame) []Classic { return ofPeer(about{peer: p.addr}) }

func (p *socketPage) classics(f Frame) []Classic {
	if _, r := p.find(f); r != nil {
		return ofPeer(about{peer: r.Remote.Addr().Unmap(), port: r.Remote.Port()})
	}
	return ofPackage("iproute2", "ss -tinp")
}

// ofPeer are the commands that show the connections to a peer.
func ofPeer(a about) []Classic {
	return slices.Concat(ofPackage("iproute2", "ss -tinp"+a.destination()), bcc("tcpretrans"), ofPackage("tcpdump", "tcpdump -n "+a.packets("tcp")))
}

func (p *Exec) classics(f Frame) []Classic {
	only := scoped(f).process("-p")
	switch p.sections[p.at].id {
	case "exits":
		return bcc("exitsnoop" + only)
	case "forks":
		return ofPackage("linux-perf", "perf stat -a -e sched:sched_process_fork -I 1000", "perf trace -a -e sched:sched_process_fork")
	case "signals":
		return bcc("killsnoop", "sigsnoop")
	case "opens", "openers":
		return bcc("opensnoop" + only)
	case "openfails":
		return bcc("opensnoop -x" + only)
	case "execfails":
		return bcc("execsnoop -x")
	case "slowfiles":
		return bcc("fileslower"+only+" 1", "ext4slower"+only+" 1", "xfsslower"+only+" 1")
	case "lives", "churn":
		return bcc("filelife" + only)
	}
	return bcc("execsnoop -T", "exitsnoop"+only)
}

func (p *commandPage) classics(Frame) []Classic {
	return append(bcc("execsnoop -T -n "+quote(clean(p.comm))), procps("pgrep -lx "+quote(clean(p.comm)))...)
}

func (p *Probes) classics(Frame) []Classic { return probeClassics() }

func (p *probePage) classics(Frame) []Classic { return probeClassics() }

func probeClassics() []Classic {
	return append(ofPackage("bpf60", "bpf60 doctor"), ofPackage("bpftool", "bpftool prog show", "bpftool link show")...)
}

func (p *Log) classics(Frame) []Classic {
	level := ""
	if p.level < collectors.LogLevels-1 {
		var names []string
		for l := uint8(0); l <= p.level; l++ {
			names = append(names, levelName(l))
		}
		level = " -l " + strings.Join(names, ",")
	}
	return ofPackage("util-linux", "dmesg -T"+level+" | tail", "dmesg -Tw"+level)
}

func (p *logPage) classics(Frame) []Classic {
	return ofPackage("util-linux", "dmesg -Tx | tail -n 50")
}

func (p *Stalls) classics(f Frame) []Classic {
	if a := scoped(f); a.pid != 0 {
		return stackOf(a.pid)
	}
	if p.sleepers {
		return append(procps("ps -eLo state,tid,wchan:30,comm"), bcc("offcputime -K 5")...)
	}
	return append(procps("ps -eLo state,tid,wchan:30,comm | grep ^D"), ofPackage("util-linux", "dmesg -T | grep 'blocked for more than'")...)
}

// stackOf is the command for where a process waits.
func stackOf(pid int32) []Classic {
	return procps("grep -H . /proc/" + strconv.Itoa(int(pid)) + "/task/*/stack")
}

func (p *stallPage) classics(f Frame) []Classic {
	return (&Stalls{sleepers: p.sleepers}).classics(f)
}

func (p *DNS) classics(f Frame) []Classic {
	a := scoped(f)
	return append(ofPackage("tcpdump", "tcpdump -n "+a.packets("port 53")), bcc("gethostlatency"+a.process("-p"))...)
}

func (p *dnsPage) classics(Frame) []Classic {
	a := about{pid: p.process.TGID}
	if p.server.IsValid() {
		a = about{peer: p.server}
	}
	return append(ofPackage("tcpdump", "tcpdump -n "+a.packets("port 53")), bcc("gethostlatency"+a.process("-p"))...)
}

func (p *Cgroups) classics(f Frame) []Classic { return ofCgroup(scoped(f).cgroup) }

func (p *cgroupPage) classics(Frame) []Classic { return ofCgroup(safe(p.path).String()) }

// ofCgroup are the commands that show one cgroup, or all without a path.
func ofCgroup(path string) []Classic {
	out := ofPackage("systemd", "systemd-cgtop"+flag("", path))
	if path == "" {
		return append(out, ofPackage("systemd", "systemd-cgls")...)
	}
	dir := "/sys/fs/cgroup/" + strings.Trim(path, "/")
	return append(out, ofPackage("coreutils", "head -v -n 50 "+quote(dir+"/cpu.stat")+" "+quote(dir+"/memory.events")+" "+quote(dir+"/io.stat"))...)
}

func (p *Profile) classics(f Frame) []Classic {
	a := scoped(f)
	if p.page.Kind == collectors.ProcessTarget {
		a = about{pid: p.page.Process.TGID}
	}
	if p.time == offTime {
		return bcc("offcputime -K" + a.process("-p") + " 5")
	}
	perf := "perf top -g -F 49" + a.process("-p")
	return append(ofPackage("linux-perf", perf), bcc("profile -F 49"+a.process("-p")+" 10")...)
}

func (p *Syscalls) classics(f Frame) []Classic {
	options := ""
	if p.processes {
		options = " -P"
	}
	if p.times {
		options += " -L"
	}
	return bcc("syscount" + options + scoped(f).process("-p") + " -i 1")
}

func (p *callPage) classics(Frame) []Classic {
	if pid, err := strconv.ParseInt(strings.Fields(p.row + " 0")[0], 10, 32); p.process && err == nil && pid > 0 {
		a := about{pid: int32(pid)}
		return append(bcc("syscount"+a.process("-p")+" -i 1"), ofPackage("linux-perf", "perf trace -s"+a.process("-p")+" sleep 5")...)
	}
	return append(bcc("syscount -P -i 1"), ofPackage("linux-perf", "perf trace -a -s -e "+quote(safe(p.row).String())+" sleep 5")...)
}
