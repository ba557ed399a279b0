// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A recording is a file of zstd frames, which zstdcat turns into lines of JSON. The first frame holds
// the header's line. Each further one is a block: the snapshots of some seconds, a line each. Before it
// stands a skippable frame with what it covers, so that a reader finds a time without reading all. What
// snapshots share is written once in a chapter, which is the blocks of a minute: a reader begins at a
// chapter's first block. zstd carries a checksum of its own: a file cut anywhere, or damaged, is good up
// to the last whole frame.
const (
	recordMagic = "bpf60"
	recordMajor = 1 // a reader refuses a newer one
	recordMinor = 0 // a reader takes any: fields were added

	blockTime   = 10 * time.Second
	blockBytes  = 1 << 20 // of lines, before compression
	chapterTime = time.Minute

	skipMagic = 0x184D2A5B // of our skippable frames: one of the sixteen that zstd leaves to others
)

// RecordHeader is the first line of a recording.
type RecordHeader struct {
	Magic    string        `json:"magic"` // "bpf60"
	Major    int           `json:"major"`
	Minor    int           `json:"minor"`
	Version  string        `json:"version"` // of the program that wrote it
	Host     Raw           `json:"host"`
	Kernel   string        `json:"kernel"`
	Arch     string        `json:"arch"`
	CPUs     int           `json:"cpus"`
	BootID   string        `json:"boot_id"`
	Started  time.Time     `json:"started"`
	Interval time.Duration `json:"interval_ns"`
}

// blockIndex is what stands before a block: the time of its first and last snapshot.
type blockIndex struct {
	From    time.Duration `json:"from_ns"`
	To      time.Duration `json:"to_ns"`
	N       int           `json:"snapshots"`
	Size    int           `json:"bytes"`             // of the frame that follows
	Chapter int           `json:"chapter,omitempty"` // counts from 1; 0 is a chapter of its own
}

// Recorder writes snapshots to a file. Its methods are called from one goroutine.
type Recorder struct {
	w     io.Writer
	zstd  *zstd.Encoder
	enc   *encoder
	lines []byte
	index blockIndex
	out   []byte

	chapter int
	begun   time.Duration // of the chapter's first snapshot
	written int
}

// NewRecorder writes the header and returns the recorder. Magic and version are filled in.
func NewRecorder(w io.Writer, h RecordHeader) (*Recorder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("preparing to compress: %w", err)
	}
	r := &Recorder{w: w, zstd: z, enc: newEncoder(&plans{})}
	h.Magic, h.Major, h.Minor = recordMagic, recordMajor, recordMinor
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("writing the header: %w", err)
	}
	return r, r.write(z.EncodeAll(append(line, '\n'), nil))
}

// Add takes one snapshot, which is written with its block.
func (r *Recorder) Add(s *Snapshot) error {
	if r.index.N > 0 && (s.At-r.index.From >= blockTime || len(r.lines) >= blockBytes) {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	if r.chapter == 0 || r.index.N == 0 && s.At-r.begun >= chapterTime {
		r.chapter++
		r.begun = s.At
		r.enc.reset()
	}
	line, err := r.enc.encode(s)
	if err != nil {
		return err
	}
	r.lines = append(append(r.lines, line...), '\n')
	if r.index.N == 0 {
		r.index.From, r.index.Chapter = s.At, r.chapter
	}
	r.index.To = s.At
	r.index.N++
	return nil
}

// Flush ends the block, so that all snapshots are in the file.
func (r *Recorder) Flush() error {
	if r.index.N == 0 {
		return nil
	}
	frame := r.zstd.EncodeAll(r.lines, r.out[:0])
	r.out = frame
	r.index.Size = len(frame)
	index, err := json.Marshal(r.index)
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	head, n := appendSkippable(nil, index), r.index.N
	r.lines, r.index = r.lines[:0], blockIndex{}
	// In one write: whoever reads meanwhile sees whole blocks.
	if err := r.write(append(head, frame...)); err != nil {
		return err
	}
	r.written += n
	return nil
}

// Written is how many snapshots are in whole blocks that the writer has taken: those that a replay finds.
func (r *Recorder) Written() int { return r.written }

func (r *Recorder) write(b []byte) error {
	if _, err := r.w.Write(b); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// Close writes what is left. It does not close the file.
func (r *Recorder) Close() error {
	return errors.Join(r.Flush(), r.zstd.Close())
}

func appendSkippable(b, data []byte) []byte {
	for _, n := range []uint32{skipMagic, uint32(len(data))} {
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return append(b, data...)
}
