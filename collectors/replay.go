// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// ErrRecording is a file that is no recording, or one that this version cannot read.
var ErrRecording = errors.New("not a recording that this version reads (bpf60 record makes one)")

// errTooMuch is a recording that was not made to be read.
var errTooMuch = fmt.Errorf("it holds more than is read of one recording: %w", ErrRecording)

const (
	// blockLimit bounds what one block may hold, unpacked: sixteen times what a recorder puts there.
	blockLimit = 16 << 20
	// What all blocks may hold, unpacked: so many bytes for each of the file, which is ten times what is
	// recorded of an idle host, or the least where that is less, and never more than the most: some hours of a
	// busy host. Without it a file of some kB would keep us busy for as long as its author likes.
	replayRatio = 200
	replayLeast = 64 << 20
	replayMost  = 1 << 30
	// replaySnapshots bounds how many there may be, and blocks: each costs the rules time. It is a day of
	// seconds.
	replaySnapshots = 100_000
	// headerLimit bounds the header's frame, and what a block says of itself.
	headerLimit = 64 << 10
	indexLimit  = 4 << 10
)

// Replay is a recording as a Source. Its methods but Header are called from one goroutine.
type Replay struct {
	header RecordHeader
	blocks []block
	file   io.ReaderAt
	size   int64
	zstd   *zstd.Decoder
	cut    error // why the file ends before its end
}

// block is where a block lies in the file.
type block struct {
	blockIndex
	at int64 // of its frame
}

// OpenReplay reads the header and finds the blocks, of which it reads none. size is the file's. A file
// that was cut or damaged is good up to there; Cut says why it ends.
func OpenReplay(file io.ReaderAt, size int64) (*Replay, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(blockLimit))
	if err != nil {
		return nil, fmt.Errorf("preparing to read: %w", err)
	}
	r := &Replay{file: file, size: size, zstd: z}
	at, err := r.readHeader(size)
	if err != nil {
		z.Close()
		return nil, err
	}
	for at < size {
		if len(r.blocks) == replaySnapshots {
			r.cut = errTooMuch
			break
		}
		b, next, err := r.findBlock(at, size)
		if err != nil {
			r.cut = err
			break
		}
		r.blocks = append(r.blocks, b)
		at = next
	}
	return r, nil
}

// Header is what the recording says of itself.
func (r *Replay) Header() RecordHeader { return r.header }

// Size is that of the file, in bytes.
func (r *Replay) Size() int64 { return r.size }

// Span is the time of the first and the last snapshot, since the recorded run began; false if there is
// none.
func (r *Replay) Span() (Span, bool) {
	if len(r.blocks) == 0 {
		return Span{}, false
	}
	return Span{r.blocks[0].From, r.blocks[len(r.blocks)-1].To}, true
}

// Cut says why the recording ends before the end of its file; nil if it does not.
func (r *Replay) Cut() error { return r.cut }

// Close frees what reading took. It does not close the file.
func (r *Replay) Close() { r.zstd.Close() }

// readHeader reads the first frame and returns where it ends.
func (r *Replay) readHeader(size int64) (int64, error) {
	b := make([]byte, min(size, headerLimit))
	if err := r.readAt(b, 0); err != nil {
		return 0, err
	}
	n, err := frameLength(b)
	if err != nil {
		return 0, fmt.Errorf("reading the header: %w", ErrRecording)
	}
	line, err := r.zstd.DecodeAll(b[:n], nil)
	if err != nil || len(line) > headerLimit {
		return 0, fmt.Errorf("reading the header: %w", ErrRecording)
	}
	if err := json.Unmarshal(line, &r.header); err != nil || r.header.Magic != recordMagic {
		return 0, fmt.Errorf("reading the header: %w", ErrRecording)
	}
	for _, s := range []*string{&r.header.Version, &r.header.Kernel, &r.header.Arch, &r.header.BootID} {
		*s = plain(*s)
	}
	if r.header.Major > recordMajor {
		return 0, fmt.Errorf("the recording is of format %d.%d, written by bpf60 %s: this one reads up to %d: %w",
			r.header.Major, r.header.Minor, r.header.Version, recordMajor, ErrRecording)
	}
	return int64(n), nil
}

func (r *Replay) readAt(b []byte, at int64) error {
	n, err := r.file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading the recording: %w", err)
}

// findBlock reads what stands before the block at a place, and returns where the next one begins.
func (r *Replay) findBlock(at, size int64) (b block, next int64, err error) {
	var head [8]byte
	if err := r.readAt(head[:], at); err != nil {
		return b, 0, err
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if binary.LittleEndian.Uint32(head[:]) != skipMagic || n > indexLimit {
		return b, 0, fmt.Errorf("no block at byte %d: %w", at, ErrRecording)
	}
	text := make([]byte, n)
	if err := r.readAt(text, at+8); err != nil {
		return b, 0, err
	}
	if err := json.Unmarshal(text, &b.blockIndex); err != nil {
		return b, 0, fmt.Errorf("no block at byte %d: %w", at, ErrRecording)
	}
	b.at = at + 8 + int64(n)
	next = b.at + int64(b.Size)
	last := time.Duration(0)
	if len(r.blocks) > 0 {
		last = r.blocks[len(r.blocks)-1].To
	}
	switch {
	case b.Size <= 0 || b.Size > blockLimit || b.N <= 0 || b.From > b.To || b.From < last:
		return b, 0, fmt.Errorf("no block at byte %d: %w", at, ErrRecording)
	case next > size:
		return b, 0, fmt.Errorf("reading the recording: %w", io.ErrUnexpectedEOF)
	}
	return b, next, nil
}

// Run emits all snapshots, without waiting in between, until the context ends. A block that is damaged
// ends it: what came before stands, and Cut says why.
func (r *Replay) Run(ctx context.Context, emit func(*Snapshot)) error {
	return r.Each(ctx, Span{0, 1<<63 - 1}, emit)
}

// Each emits the snapshots from span.From to span.To, both included.
func (r *Replay) Each(ctx context.Context, span Span, emit func(*Snapshot)) error {
	dec := newDecoder(&plans{})
	last := time.Duration(-1)
	room, snapshots := r.room(), 0
	for i, b := range r.blocks {
		if b.From > span.To || !r.leads(i, span.From) {
			continue
		}
		lines, err := r.unpack(b)
		if err != nil {
			r.cut = err
			return nil
		}
		if room -= int64(len(lines)); room < 0 {
			r.cut = errTooMuch
			return nil
		}
		if i == 0 || !r.blocks[i-1].continues(b) {
			dec.reset()
		}
		for n := 0; len(lines) > 0; n++ {
			if ctx.Err() != nil {
				return nil
			}
			if snapshots++; snapshots > replaySnapshots {
				r.cut = errTooMuch
				return nil
			}
			line, rest, _ := bytes.Cut(lines, []byte("\n"))
			lines = rest
			var s Snapshot
			if err := dec.decode(line, &s); err != nil {
				r.cut = fmt.Errorf("snapshot %d of the block at byte %d: %w: %w", n, b.at, ErrRecording, err)
				return nil
			}
			if s.At <= last { // rules and history rely on the order
				r.cut = fmt.Errorf("snapshot %d of the block at byte %d is not after the one before: %w", n, b.at, ErrRecording)
				return nil
			}
			last = s.At
			if s.At >= span.From && s.At <= span.To {
				emit(&s)
			}
		}
	}
	return nil
}

// room is how many bytes all blocks may hold, unpacked.
func (r *Replay) room() int64 { return min(max(r.size*replayRatio, replayLeast), replayMost) }

// continues says whether the next block belongs to the same chapter.
func (b block) continues(next block) bool { return b.Chapter != 0 && b.Chapter == next.Chapter }

// leads says whether a time or what comes after it cannot be read without the i-th block.
func (r *Replay) leads(i int, from time.Duration) bool {
	for ; i+1 < len(r.blocks) && r.blocks[i].To < from; i++ {
		if !r.blocks[i].continues(r.blocks[i+1]) {
			return false
		}
	}
	return r.blocks[i].To >= from
}

func (r *Replay) unpack(b block) ([]byte, error) {
	frame := make([]byte, b.Size)
	if err := r.readAt(frame, b.at); err != nil {
		return nil, err
	}
	if n, err := frameLength(frame); err != nil || n != len(frame) {
		return nil, fmt.Errorf("reading the block at byte %d: %w", b.at, ErrRecording)
	}
	lines, err := r.zstd.DecodeAll(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the block at byte %d: %w: %w", b.at, ErrRecording, err)
	}
	return lines, nil
}

// frameLength is the length of the zstd frame that b begins with, from its header and those of its
// blocks (RFC 8878, section 3.1.1).
func frameLength(b []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil || h.Skippable {
		return 0, ErrRecording
	}
	at := h.HeaderSize
	for {
		if at+3 > len(b) {
			return 0, io.ErrUnexpectedEOF
		}
		head := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		at += 3
		if kind := head >> 1 & 3; kind == 1 {
			at++ // one byte, repeated
		} else {
			at += head >> 3
		}
		if head&1 != 0 {
			break
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > len(b) {
		return 0, io.ErrUnexpectedEOF
	}
	return at, nil
}
