// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// rtnl is a socket to rtnetlink, which only reads: RTM_GETLINK, RTM_GETQDISC, RTM_GETNSID.
type rtnl struct {
	fd  int
	seq uint32
	buf []byte
}

func openRTNL() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	const patience = 2 * time.Second
	tv := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, errors.Join(fmt.Errorf("opening rtnetlink: %w", err), unix.Close(fd))
	}
	return &rtnl{fd: fd, buf: make([]byte, 32<<10)}, nil
}

func (r *rtnl) close() error { return unix.Close(r.fd) }

// rtnlHeader is the length of struct nlmsghdr.
const rtnlHeader = 16

// request sends one question and calls each with the payload of every answer. dump asks for all.
func (r *rtnl) request(kind uint16, dump bool, payload []byte, each func(b []byte)) error {
	r.seq++
	flags := uint16(unix.NLM_F_REQUEST)
	if dump {
		flags |= unix.NLM_F_DUMP
	}
	q := make([]byte, rtnlHeader, rtnlHeader+len(payload))
	binary.NativeEndian.PutUint32(q, uint32(rtnlHeader+len(payload)))
	binary.NativeEndian.PutUint16(q[4:], kind)
	binary.NativeEndian.PutUint16(q[6:], flags)
	binary.NativeEndian.PutUint32(q[8:], r.seq)
	if err := unix.Sendto(r.fd, append(q, payload...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("asking rtnetlink: %w", err)
	}
	const most = 1 << 16 // answers to one question; a namespace does not hold more interfaces
	for range most {
		n, _, err := unix.Recvfrom(r.fd, r.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("asking rtnetlink: %w", err)
		}
		done, err := eachMessage(r.buf[:n], r.seq, each)
		if err != nil {
			return fmt.Errorf("asking rtnetlink: %w", err)
		}
		if done || !dump {
			return nil
		}
	}
	return fmt.Errorf("asking rtnetlink: answers without end: %w", errFormat)
}

// eachMessage calls each with the payload of every message to seq, and says whether that was the
// last one.
func eachMessage(b []byte, seq uint32, each func(b []byte)) (done bool, err error) {
	for len(b) >= rtnlHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < rtnlHeader || size > len(b) {
			return false, errFormat
		}
		kind, to := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:])
		payload := b[rtnlHeader:size]
		b = b[min((size+3)&^3, len(b)):]
		switch {
		case to != seq: // to an earlier question
		case kind == unix.NLMSG_DONE:
			return true, nil
		case kind == unix.NLMSG_ERROR:
			if len(payload) < 4 {
				return false, errFormat
			}
			if code := int32(binary.NativeEndian.Uint32(payload)); code != 0 {
				return false, unix.Errno(-code)
			}
			return true, nil
		default:
			each(payload)
		}
	}
	return false, nil
}

// eachAttr calls each with every attribute of b; it stops at one that does not fit.
func eachAttr(b []byte, each func(kind uint16, value []byte)) {
	const head, nested = 4, 1 << 15
	for len(b) >= head {
		size := int(binary.NativeEndian.Uint16(b))
		if size < head || size > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&^nested, b[head:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}

func attr32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func attrText(b []byte) string { return clean(unix.ByteSliceToString(b)) }

// Attributes that x/sys has no name for (include/uapi/linux/if_link.h, rtnetlink.h, gen_stats.h).
const (
	tcaStats2     = 7
	tcaStatsQueue = 3 // struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits
	netnsaNSID    = 1
	netnsaPID     = 2
)

// Places in struct rtnl_link_stats64.
const statsMissed = 15 // rx_missed_errors, the sixteenth of 64 bits

// askLinks asks for every interface of our own namespace, their queues, and whose the other ends of
// pairs are. Only the interfaces are needed.
func askLinks(q linkQuestion) ([]linkAnswer, error) {
	r, err := openRTNL()
	if err != nil {
		return nil, err
	}
	defer r.close()
	var links []linkAnswer
	err = r.request(unix.RTM_GETLINK, true, make([]byte, unix.SizeofIfInfomsg), func(b []byte) {
		if a, ok := parseLink(b); ok && len(links) < maxLinks {
			links = append(links, a)
		}
	})
	if err != nil {
		return nil, err
	}
	at := make(map[int32]*linkAnswer, len(links))
	pairs := false
	for i := range links {
		at[links[i].Index] = &links[i]
		pairs = pairs || links[i].peerNS >= 0
	}
	// Without queues or namespaces the rest stands.
	_ = r.request(unix.RTM_GETQDISC, true, make([]byte, sizeofTcmsg), func(b []byte) {
		index, root, drops, backlog := parseQdisc(b)
		if a := at[index]; a != nil && root {
			a.Qdisc += uint64(drops)
			a.Backlog += uint64(backlog)
		}
	})
	if pairs {
		numbers := make(map[int32]uint64, len(q.spaces))
		for id, pid := range q.spaces {
			payload := make([]byte, 12) // struct rtgenmsg, padded, and one attribute
			binary.NativeEndian.PutUint16(payload[4:], 8)
			binary.NativeEndian.PutUint16(payload[6:], netnsaPID)
			binary.NativeEndian.PutUint32(payload[8:], uint32(pid))
			_ = r.request(unix.RTM_GETNSID, false, payload, func(b []byte) {
				if n, ok := parseNSID(b); ok {
					numbers[n] = id
				}
			})
		}
		for i := range links {
			if links[i].peerNS >= 0 {
				links[i].Peer = numbers[links[i].peerNS]
			}
		}
	}
	return links, nil
}

// parseLink reads an answer to RTM_GETLINK: struct ifinfomsg and attributes.
func parseLink(b []byte) (a linkAnswer, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return a, false
	}
	a.Index = int32(binary.NativeEndian.Uint32(b[4:]))
	flags := binary.NativeEndian.Uint32(b[8:])
	a.Loopback = flags&unix.IFF_LOOPBACK != 0
	a.peerNS = -1
	eachAttr(b[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			a.Name = unix.ByteSliceToString(v)
		case unix.IFLA_MTU:
			a.MTU = attr32(v)
		case unix.IFLA_MASTER:
			a.Master = int32(attr32(v))
		case unix.IFLA_LINK:
			a.Lower = int32(attr32(v))
		case unix.IFLA_LINK_NETNSID:
			a.peerNS = int32(attr32(v))
		case unix.IFLA_OPERSTATE:
			if len(v) > 0 {
				a.State = operState(v[0])
			}
		case unix.IFLA_NUM_RX_QUEUES:
			a.RxQueues = attr32(v)
		case unix.IFLA_NUM_TX_QUEUES:
			a.TxQueues = attr32(v)
		case unix.IFLA_CARRIER_CHANGES:
			a.Carriers = uint64(attr32(v))
		case unix.IFLA_ADDRESS:
			if len(v) <= 32 {
				a.Address = net.HardwareAddr(v).String()
			}
		case unix.IFLA_STATS64:
			if len(v) >= 8*(statsMissed+1) {
				a.Missed = binary.NativeEndian.Uint64(v[8*statsMissed:])
			}
		case unix.IFLA_LINKINFO:
			eachAttr(v, func(kind uint16, v []byte) {
				if kind == unix.IFLA_INFO_KIND {
					a.Type = attrText(v)
				}
			})
		}
	})
	a.Up = a.State == "up" || a.State == "unknown" && flags&unix.IFF_UP != 0
	return a, a.Name != ""
}

// operState names RFC 2863's states as /sys/class/net does.
func operState(n byte) string {
	states := [...]string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}
	if int(n) < len(states) {
		return states[n]
	}
	return "unknown"
}

// sizeofTcmsg is the length of struct tcmsg.
const sizeofTcmsg = 20

// parseQdisc reads an answer to RTM_GETQDISC. Only the queue at the root counts for all: what is
// below is in it.
func parseQdisc(b []byte) (index int32, root bool, drops, backlog uint32) {
	if len(b) < sizeofTcmsg {
		return 0, false, 0, 0
	}
	const tcRoot = 0xffffffff
	index = int32(binary.NativeEndian.Uint32(b[4:]))
	root = binary.NativeEndian.Uint32(b[12:]) == tcRoot
	eachAttr(b[sizeofTcmsg:], func(kind uint16, v []byte) {
		if kind != tcaStats2 {
			return
		}
		eachAttr(v, func(kind uint16, v []byte) {
			if kind == tcaStatsQueue && len(v) >= 12 {
				backlog, drops = attr32(v[4:]), attr32(v[8:])
			}
		})
	})
	return index, root, drops, backlog
}

// parseNSID reads an answer to RTM_GETNSID: struct rtgenmsg and attributes.
func parseNSID(b []byte) (n int32, ok bool) {
	const rtgenmsg = 4 // one byte, padded
	if len(b) < rtgenmsg {
		return 0, false
	}
	n = -1
	eachAttr(b[rtgenmsg:], func(kind uint16, v []byte) {
		if kind == netnsaNSID && len(v) >= 4 {
			n = int32(attr32(v))
		}
	})
	return n, n >= 0
}
