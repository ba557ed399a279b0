// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes and places of include/uapi/linux/{netlink,inet_diag,tcp}.h. Numbers are of the machine's
// byte order but ports and addresses.
const (
	nlHeader     = 16
	diagMsgLen   = 72
	diagReqLen   = nlHeader + 56
	attrMem      = 7  // INET_DIAG_SKMEMINFO
	attrInfo     = 2  // INET_DIAG_INFO
	attrCong     = 4  // INET_DIAG_CONG
	attrCgroup   = 21 // INET_DIAG_CGROUP_ID
	attrMask     = 0x3fff
	tcpInfoLeast = 104 // up to tcpi_total_retrans: every kernel since 2.6
)

// diagMsg is one socket as the kernel describes it. Its slices point into the buffer of the
// reading and are valid while that is.
type diagMsg struct {
	head   []byte // struct inet_diag_msg, whole
	info   []byte // struct tcp_info, at least tcpInfoLeast bytes, or empty
	mem    []byte // nine numbers of SK_MEMINFO, or empty
	cong   []byte
	cgroup uint64
}

func u16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }

// The head of a message. Places are those of struct inet_diag_msg.

func (m *diagMsg) family() uint8      { return m.head[0] }
func (m *diagMsg) state() SocketState { return SocketState(m.head[1]) }
func (m *diagMsg) localPort() uint16  { return binary.BigEndian.Uint16(m.head[4:]) }
func (m *diagMsg) cookie() uint64     { return u64(m.head, 44) }
func (m *diagMsg) recvQ() uint32      { return u32(m.head, 56) }
func (m *diagMsg) sendQ() uint32      { return u32(m.head, 60) }
func (m *diagMsg) inode() uint32      { return u32(m.head, 68) }

// addr is the address at a place of the head.
func (m *diagMsg) addr(at int) netip.Addr {
	if m.family() == unix.AF_INET {
		return netip.AddrFrom4([4]byte(m.head[at : at+4]))
	}
	return netip.AddrFrom16([16]byte(m.head[at : at+16]))
}

// peerKey is the remote address, IPv4 written as IPv4 in IPv6.
func (m *diagMsg) peerKey() (key [16]byte) {
	if m.family() == unix.AF_INET {
		key[10], key[11] = 0xff, 0xff
		copy(key[12:], m.head[24:28])
		return key
	}
	copy(key[:], m.head[24:40])
	return key
}

// number is the uint32 of tcp_info at a place, 0 where the kernel's is shorter.
func (m *diagMsg) number(at int) uint32 {
	if len(m.info) < at+4 {
		return 0
	}
	return u32(m.info, at)
}

func (m *diagMsg) number64(at int) uint64 {
	if len(m.info) < at+8 {
		return 0
	}
	return u64(m.info, at)
}

// memory is one of SK_MEMINFO's numbers.
func (m *diagMsg) memory(i int) uint32 {
	if len(m.mem) < 4*(i+1) {
		return 0
	}
	return u32(m.mem, 4*i)
}

// Places in struct tcp_info.
const (
	infoRTO, infoSndMSS, infoUnacked, infoLost, infoRetrans = 8, 16, 24, 32, 36
	infoLastSent, infoLastRecv                              = 44, 52
	infoRTT, infoRTTVar, infoSsthresh, infoCwnd             = 68, 72, 76, 80
	infoTotalRetrans, infoPacing, infoAcked, infoReceived   = 100, 104, 120, 128
	infoNotSent, infoMinRTT, infoDelivery                   = 144, 148, 160
	infoBusy, infoRwnd, infoSndbuf                          = 168, 176, 184
)

// Places in SK_MEMINFO.
const (
	memRmem, memRcvbuf, memWmem, memSndbuf, memFwd, memQueued, memOpt, memBacklog, memDrops = 0, 1, 2, 3, 4, 5, 6, 7, 8
)

// errDone says that a dump has ended.
var errDone = errors.New("end of dump")

// parseDiag calls each with every socket of one datagram. It returns errDone at the end of the
// dump, and what the kernel says against it.
func parseDiag(b []byte, m *diagMsg, each func(*diagMsg)) error {
	for len(b) > 0 {
		if len(b) < nlHeader {
			return fmt.Errorf("%d bytes are no message: %w", len(b), errFormat)
		}
		length, kind := u32(b, 0), u16(b, 4)
		if length < nlHeader || uint64(length) > uint64(len(b)) {
			return fmt.Errorf("a message of %d bytes in %d: %w", length, len(b), errFormat)
		}
		body := b[nlHeader:length]
		b = b[min(int(length+3)&^3, len(b)):]
		switch kind {
		case unix.NLMSG_DONE:
			if len(body) >= 4 {
				if code := int32(u32(body, 0)); code < 0 {
					return unix.Errno(-code)
				}
			}
			return errDone
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return fmt.Errorf("an error without a number: %w", errFormat)
			}
			if code := int32(u32(body, 0)); code < 0 {
				return unix.Errno(-code)
			}
			continue
		case unix.SOCK_DIAG_BY_FAMILY:
		default:
			continue
		}
		if err := m.parse(body); err != nil {
			return err
		}
		each(m)
	}
	return nil
}

// parse reads one message. Attributes that are cut off or too short count as not there.
func (m *diagMsg) parse(b []byte) error {
	if len(b) < diagMsgLen {
		return fmt.Errorf("a socket of %d bytes: %w", len(b), errFormat)
	}
	*m = diagMsg{head: b[:diagMsgLen]}
	if f := m.family(); f != unix.AF_INET && f != unix.AF_INET6 {
		return fmt.Errorf("a socket of family %d: %w", f, errFormat)
	}
	for b = b[diagMsgLen:]; len(b) >= 4; {
		length, kind := int(u16(b, 0)), u16(b, 2)&attrMask
		if length < 4 || length > len(b) {
			return nil
		}
		body := b[4:length]
		switch kind {
		case attrInfo:
			if len(body) >= tcpInfoLeast {
				m.info = body
			}
		case attrMem:
			m.mem = body
		case attrCong:
			for len(body) > 0 && body[len(body)-1] == 0 {
				body = body[:len(body)-1]
			}
			m.cong = body
		case attrCgroup:
			if len(body) >= 8 {
				m.cgroup = u64(body, 0)
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}

// identity makes what stays of the socket.
func (m *diagMsg) identity() *SocketID {
	return &SocketID{
		Cookie:     m.cookie(),
		Local:      netip.AddrPortFrom(m.addr(8), m.localPort()),
		Remote:     netip.AddrPortFrom(m.addr(24), binary.BigEndian.Uint16(m.head[6:])),
		Interface:  u32(m.head, 40),
		Inode:      m.inode(),
		UID:        u32(m.head, 64),
		Cgroup:     m.cgroup,
		Congestion: RawString(string(m.cong)),
	}
}

// row fills the gauges and totals of a row.
func (m *diagMsg) row(r *SocketRow) {
	*r = SocketRow{
		State: m.state(), HasInfo: len(m.info) > 0,
		Timer: m.head[2], TimerRetrans: m.head[3], TimerMs: u32(m.head, 52),
		RecvQ: m.recvQ(), SendQ: m.sendQ(),
		RTT: m.number(infoRTT), RTTVar: m.number(infoRTTVar), MinRTT: m.number(infoMinRTT), RTO: m.number(infoRTO),
		Cwnd: m.number(infoCwnd), Ssthresh: m.number(infoSsthresh), MSS: m.number(infoSndMSS),
		Unacked: m.number(infoUnacked), Lost: m.number(infoLost), RetransOut: m.number(infoRetrans),
		NotSent: m.number(infoNotSent), LastSend: m.number(infoLastSent), LastRecv: m.number(infoLastRecv),
		RetransTotal: m.number(infoTotalRetrans), DeliveryRate: m.number64(infoDelivery), PacingRate: m.number64(infoPacing),
		RcvBuf: m.memory(memRcvbuf), SndBuf: m.memory(memSndbuf), RcvUsed: m.memory(memRmem),
	}
}

// detail is everything that a row has no place for.
func (m *diagMsg) detail() *TCPInfo {
	var flags [8]byte
	copy(flags[:], m.info)
	short := func(at int) uint16 { // two halves of a number
		if len(m.info) < at+2 {
			return 0
		}
		return u16(m.info, at)
	}
	n, n64, mem := m.number, m.number64, m.memory
	return &TCPInfo{
		CAState: flags[1], Retransmits: flags[2], Probes: flags[3], Backoff: flags[4], Options: flags[5],
		SndWscale: flags[6] & 15, RcvWscale: flags[6] >> 4, AppLimited: flags[7]&1 != 0,
		ATO: n(12), RcvMSS: n(20), Sacked: n(28), LastAckRecv: n(56), PMTU: n(60),
		RcvSsthresh: n(64), AdvMSS: n(84), Reordering: n(88), RcvRTT: n(92), RcvSpace: n(96),
		MaxPacingRate: n64(112), BytesAcked: n64(infoAcked), BytesReceived: n64(infoReceived),
		SegsOut: n(136), SegsIn: n(140), DataSegsIn: n(152), DataSegsOut: n(156),
		BusyTime: n64(infoBusy), RwndTime: n64(infoRwnd), SndbufTime: n64(infoSndbuf),
		Delivered: n(192), DeliveredCE: n(196), BytesSent: n64(200), BytesRetrans: n64(208),
		DSACKDups: n(216), ReordSeen: n(220), RcvOOO: n(224), SndWnd: n(228), RcvWnd: n(232), Rehash: n(236),
		TotalRTO: short(240), TotalRTORecoveries: short(242), TotalRTOTime: n(244),
		RmemAlloc: mem(memRmem), WmemAlloc: mem(memWmem), FwdAlloc: mem(memFwd), WmemQueued: mem(memQueued),
		OptMem: mem(memOpt), Backlog: mem(memBacklog), DropsTotal: mem(memDrops), Length: len(m.info),
	}
}

// diagRequest is the request for a dump of the sockets of one family in the given states, with
// everything that we read of them.
func diagRequest(family uint8, states uint32, seq uint32) []byte {
	b := make([]byte, diagReqLen)
	binary.NativeEndian.PutUint32(b[0:], diagReqLen)
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[16], b[17] = family, unix.IPPROTO_TCP
	b[18] = 1<<(attrInfo-1) | 1<<(attrCong-1) | 1<<(attrMem-1)
	binary.NativeEndian.PutUint32(b[20:], states)
	return b
}
