// SPDX-License-Identifier: Apache-2.0

package collectors

import "unsafe"

// TCPCounter names one counter of /proc/net/snmp (Tcp) or /proc/net/netstat (TcpExt). All are
// cumulative since the network namespace was made, and 64 bits wide.
type TCPCounter uint8

// The counters, by what they tell. Names are the kernel's (net/ipv4/proc.c, snmp4_tcp_list and
// snmp4_net_list). New ones come last: recordings hold them by number.
const (
	// Tcp: what sar -n TCP,ETCP prints.
	TCPActiveOpens  TCPCounter = iota // connects that left CLOSED
	TCPPassiveOpens                   // connections that a listener has taken up, as the handshake ends
	TCPAttemptFails                   // from SYN_SENT or SYN_RECV to CLOSED, or back to LISTEN
	TCPEstabResets                    // from ESTABLISHED or CLOSE_WAIT to CLOSED, by a reset of either side
	TCPInSegs                         // segments received, bad ones included; GRO counts what came on the wire
	TCPOutSegs                        // segments sent without pure retransmissions, resets included
	TCPRetransSegs                    // segments sent again, SYNs included
	TCPInErrs                         // received with a bad header or checksum
	TCPOutRsts                        // resets sent
	TCPInCsumErrors

	// Accept queues and SYN queues.
	TCPListenOverflows // the accept queue was full when a handshake ended, or a SYN came
	TCPListenDrops     // every SYN or handshake that a listener dropped, ListenOverflows included
	TCPReqQFullDoCookies
	TCPReqQFullDrop
	TCPSyncookiesSent
	TCPSyncookiesRecv
	TCPSyncookiesFailed
	TCPDeferAcceptDrop

	// Connections torn down.
	TCPEmbryonicRsts
	TCPAbortOnData
	TCPAbortOnClose
	TCPAbortOnMemory
	TCPAbortOnTimeout
	TCPAbortOnLinger
	TCPAbortFailed

	// Windows that closed: a reader that does not read.
	TCPFromZeroWindowAdv
	TCPToZeroWindowAdv
	TCPWantZeroWindowAdv
	TCPZeroWindowDrop

	// Memory and queues.
	TCPMemoryPressures
	TCPMemoryPressuresChrono // milliseconds under pressure
	TCPPruneCalled
	TCPRcvPruned
	TCPOfoPruned
	TCPRcvCollapsed
	TCPBacklogDrop
	TCPRcvQDrop
	TCPWqueueTooBig
	TCPPFMemallocDrop

	// Retransmission, by cause.
	TCPTimeouts
	TCPSynRetrans
	TCPLostRetransmit
	TCPFastRetrans
	TCPSlowStartRetrans
	TCPLossProbes
	TCPSpuriousRTOs
	TCPSpuriousRtxHostQueues
	TCPRetransFail
	TCPDSACKRecv

	// Out of order.
	TCPOFOQueue
	TCPOFODrop

	// TIME_WAIT.
	TCPTW
	TCPTWRecycled
	TCPTWKilled
	TCPTimeWaitOverflow

	TCPPAWSEstab
	TCPChallengeACK
	TCPKeepAlive

	TCPCounters // how many there are
)

// TCPCounts are the counters by TCPCounter.
type TCPCounts [TCPCounters]uint64

// Plus adds other counts, for the sum over several spans.
func (c *TCPCounts) Plus(o *TCPCounts) {
	for i, n := range o {
		c[i] += n
	}
}

// TCPSet is a set of counters: bit i stands for counter i.
type TCPSet uint64

// Has says whether a counter is in the set.
func (s TCPSet) Has(c TCPCounter) bool { return s>>c&1 != 0 }

func (s *TCPSet) add(c TCPCounter) { *s |= 1 << c }

const (
	tcpSize = unsafe.Sizeof(TCP{})
	_       = uint(64 - TCPCounters) // all fit a TCPSet
)

// TCPNames are the kernel's names of the counters, without their group, by TCPCounter.
func TCPNames() []string {
	names := make([]string, 0, TCPCounters)
	for _, k := range tcpKeys() {
		names = append(names, k.name)
	}
	return names
}

// tcpKey is a counter's name as the kernel prints it.
type tcpKey struct{ group, name string }

func tcpKeys() *[TCPCounters]tcpKey {
	const tcp, ext = "Tcp:", "TcpExt:"
	return &[TCPCounters]tcpKey{
		TCPActiveOpens:  {tcp, "ActiveOpens"},
		TCPPassiveOpens: {tcp, "PassiveOpens"},
		TCPAttemptFails: {tcp, "AttemptFails"},
		TCPEstabResets:  {tcp, "EstabResets"},
		TCPInSegs:       {tcp, "InSegs"},
		TCPOutSegs:      {tcp, "OutSegs"},
		TCPRetransSegs:  {tcp, "RetransSegs"},
		TCPInErrs:       {tcp, "InErrs"},
		TCPOutRsts:      {tcp, "OutRsts"},
		TCPInCsumErrors: {tcp, "InCsumErrors"},

		TCPListenOverflows:   {ext, "ListenOverflows"},
		TCPListenDrops:       {ext, "ListenDrops"},
		TCPReqQFullDoCookies: {ext, "TCPReqQFullDoCookies"},
		TCPReqQFullDrop:      {ext, "TCPReqQFullDrop"},
		TCPSyncookiesSent:    {ext, "SyncookiesSent"},
		TCPSyncookiesRecv:    {ext, "SyncookiesRecv"},
		TCPSyncookiesFailed:  {ext, "SyncookiesFailed"},
		TCPDeferAcceptDrop:   {ext, "TCPDeferAcceptDrop"},

		TCPEmbryonicRsts:  {ext, "EmbryonicRsts"},
		TCPAbortOnData:    {ext, "TCPAbortOnData"},
		TCPAbortOnClose:   {ext, "TCPAbortOnClose"},
		TCPAbortOnMemory:  {ext, "TCPAbortOnMemory"},
		TCPAbortOnTimeout: {ext, "TCPAbortOnTimeout"},
		TCPAbortOnLinger:  {ext, "TCPAbortOnLinger"},
		TCPAbortFailed:    {ext, "TCPAbortFailed"},

		TCPFromZeroWindowAdv: {ext, "TCPFromZeroWindowAdv"},
		TCPToZeroWindowAdv:   {ext, "TCPToZeroWindowAdv"},
		TCPWantZeroWindowAdv: {ext, "TCPWantZeroWindowAdv"},
		TCPZeroWindowDrop:    {ext, "TCPZeroWindowDrop"},

		TCPMemoryPressures:       {ext, "TCPMemoryPressures"},
		TCPMemoryPressuresChrono: {ext, "TCPMemoryPressuresChrono"},
		TCPPruneCalled:           {ext, "PruneCalled"},
		TCPRcvPruned:             {ext, "RcvPruned"},
		TCPOfoPruned:             {ext, "OfoPruned"},
		TCPRcvCollapsed:          {ext, "TCPRcvCollapsed"},
		TCPBacklogDrop:           {ext, "TCPBacklogDrop"},
		TCPRcvQDrop:              {ext, "TCPRcvQDrop"},
		TCPWqueueTooBig:          {ext, "TCPWqueueTooBig"},
		TCPPFMemallocDrop:        {ext, "PFMemallocDrop"},

		TCPTimeouts:              {ext, "TCPTimeouts"},
		TCPSynRetrans:            {ext, "TCPSynRetrans"},
		TCPLostRetransmit:        {ext, "TCPLostRetransmit"},
		TCPFastRetrans:           {ext, "TCPFastRetrans"},
		TCPSlowStartRetrans:      {ext, "TCPSlowStartRetrans"},
		TCPLossProbes:            {ext, "TCPLossProbes"},
		TCPSpuriousRTOs:          {ext, "TCPSpuriousRTOs"},
		TCPSpuriousRtxHostQueues: {ext, "TCPSpuriousRtxHostQueues"},
		TCPRetransFail:           {ext, "TCPRetransFail"},
		TCPDSACKRecv:             {ext, "TCPDSACKRecv"},

		TCPOFOQueue: {ext, "TCPOFOQueue"},
		TCPOFODrop:  {ext, "TCPOFODrop"},

		TCPTW:               {ext, "TW"},
		TCPTWRecycled:       {ext, "TWRecycled"},
		TCPTWKilled:         {ext, "TWKilled"},
		TCPTimeWaitOverflow: {ext, "TCPTimeWaitOverflow"},

		TCPPAWSEstab:    {ext, "PAWSEstab"},
		TCPChallengeACK: {ext, "TCPChallengeACK"},
		TCPKeepAlive:    {ext, "TCPKeepAlive"},
	}
}
