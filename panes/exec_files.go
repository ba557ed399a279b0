// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func madeFilesOf(s *collectors.Snapshot) *collectors.Files { return s.Files }

// mostEvents is how many events a table of the newest ones holds.
const mostEvents = 200

// deviceName is the name of a block device, or its number where it has none.
func deviceName(f Frame, dev collectors.DevID) Cell {
	if s := newest(f, diskOf); s != nil {
		for i := range s.Rows {
			if s.Rows[i].Dev == dev {
				return Name(collectors.Clean(s.Rows[i].Name))
			}
		}
	}
	return Say(dev.String())
}

// clock is the time of day of something that happened at a time of the run.
func clock(f Frame, at time.Duration) string {
	return f.At.Add(at - f.Now.At).Format("15:04:05.000")
}

// eventsOf gathers the events of a frame's past, newest first, at most mostEvents.
func eventsOf[S, E any](f Frame, get func(*collectors.Snapshot) *S, list func(*S) []E) []E {
	var out []E
	for i := len(f.Past) - 1; i >= 0 && len(out) < mostEvents; i-- {
		if f.Past[i].Snapshot == nil {
			continue
		}
		s := get(f.Past[i].Snapshot)
		if s == nil {
			continue
		}
		all := list(s)
		for k := len(all) - 1; k >= 0 && len(out) < mostEvents; k-- {
			out = append(out, all[k])
		}
	}
	return out
}

// whoRow is the row ID of something that a process did: its PID first.
func whoRow(p collectors.Process, rest ...any) string {
	return strings.TrimSpace(fmt.Sprint(append([]any{strconv.Itoa(int(p.TGID)) + " ", p.Start, " "}, rest...)...))
}

// eventIDs makes the row IDs of one table of events. Where the event stands in the table is no part of them: newer
// ones would push the cursor off it.
type eventIDs map[string]int

// of is the ID of an event that says id of itself, with a number where one before it in the table says the same.
func (ids eventIDs) of(id string) string {
	n := ids[id]
	if ids[id] = n + 1; n > 0 {
		return id + " " + strconv.Itoa(n)
	}
	return id
}

// fileFacts are what stands in the title of both tables, and the notes below them.
func fileFacts(f Frame, t *Table) *collectors.Files {
	s := newest(f, madeFilesOf)
	if s == nil {
		why, remedy := whyNot(f, collectors.FilesID, "filelife")
		t.Notes = append(t.Notes, note("filelife", why, remedy))
		return nil
	}
	var made, deleted, forgotten uint64
	var span collectors.Span
	for _, x := range within(f, madeFilesOf) {
		span = join(span, x.Span)
		made, deleted, forgotten = made+x.Made, deleted+x.Deleted, forgotten+x.Forgotten
	}
	t.Facts = append(t.Facts,
		Fact{ID: "made", Title: "files made", Unit: "/s", Cell: perSecond(made, span), Decimals: 1},
		Fact{ID: "deleted", Title: "files deleted", Unit: "/s", Cell: perSecond(deleted, span), Decimals: 1})
	if !s.EveryFS {
		p, _ := probeNamed(f, collectors.FilesID, "filelife")
		t.Notes = append(t.Notes, note("filelife", p.Reason, p.Remedy))
	}
	missedNote(f, t, collectors.FilesID, "filelife")
	if forgotten > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d files were made that are not remembered: there was no room, their age will not be known", forgotten))
	}
	return s
}

// fileLifeTable lists files that were made and deleted while we looked, newest first.
func fileLifeTable(f Frame) Table {
	t := Table{Title: "short-lived files", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 12, Left: true, Rank: 3},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true, Rank: 1},
		{ID: "AGE(ms)", Title: "AGE(ms)", Unit: "ms", Width: 9, Decimals: 1},
		{ID: "SIZE", Title: "SIZE", Unit: "bytes", Width: 6, Form: Bytes, Rank: 2},
		{ID: "FS", Title: "FS", Width: 6, Left: true, Rank: 4},
		{ID: "DEVICE", Title: "DEVICE", Width: 8, Left: true, Rank: 5},
		{ID: "FILE", Title: "FILE", Width: 26, Left: true},
	}}
	s := fileFacts(f, &t)
	if s == nil {
		return t
	}
	h, start := collectors.Hist{}, s.LifeTotal
	var unlisted, lost uint64
	for _, x := range within(f, madeFilesOf) {
		h.Plus(&x.Life)
		unlisted, lost = unlisted+x.LivesUnlisted, lost+x.LivesLost
	}
	badge := lossBadge(lost + missedOver(f, collectors.FilesID, "filelife"))
	t.Histograms = append(t.Histograms, Histogram{ID: "filelife", Title: "age of deleted files", Now: &h, Start: &start, Badge: badge})
	ids := eventIDs{}
	for _, l := range eventsOf(f, madeFilesOf, func(s *collectors.Files) []collectors.FileLife { return s.Lives }) {
		t.Rows = append(t.Rows, Row{ID: ids.of(whoRow(l.By, int64(l.At))), Target: onDisk(aboutProcess(l.By, l.Comm), l.Dev), Cells: []Cell{
			Say(clock(f, l.At)), Number(float64(l.By.TGID)), Name(collectors.Clean(l.Comm)), Number(float64(l.Life) / 1e6),
			Number(float64(l.Size)), Say(l.FS), deviceName(f, l.Dev), Name(collectors.Clean(l.Path)),
		}})
	}
	if unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more are counted and not listed", unlisted))
	}
	return t
}

// fileChurnTable lists the processes that made and deleted files, by directory, busiest first.
func fileChurnTable(f Frame) Table {
	t := Table{Title: "file churn", Columns: []Column{
		{ID: "MADE/s", Title: "MADE/s", Unit: "files/s", Width: 8, Decimals: 1},
		{ID: "DEL/s", Title: "DEL/s", Unit: "files/s", Width: 8, Decimals: 1},
		{ID: "AGE(ms)", Title: "AGE(ms)", Unit: "ms", Width: 9, Decimals: 1, Rank: 1},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true},
		{ID: "DEVICE", Title: "DEVICE", Width: 8, Left: true, Rank: 2},
		{ID: "DIRECTORY", Title: "DIRECTORY", Width: 12, Left: true},
	}}
	s := fileFacts(f, &t)
	if s == nil {
		return t
	}
	type place struct {
		by  collectors.Process
		dev collectors.DevID
		ino uint64
	}
	sums := make(map[place]*collectors.FileChurn)
	var rows []*collectors.FileChurn
	var span collectors.Span
	unlisted := 0
	for _, x := range within(f, madeFilesOf) {
		span = join(span, x.Span)
		unlisted += x.ChurnUnlisted
		for _, c := range x.Churn {
			k := place{c.Process, c.Dev, c.Ino}
			if sums[k] == nil {
				c := c
				sums[k] = &c
				rows = append(rows, &c)
				continue
			}
			sums[k].Made += c.Made
			sums[k].Deleted += c.Deleted
			sums[k].Aged += c.Aged
			sums[k].Life += c.Life
		}
	}
	sortStably(rows, func(a, b *collectors.FileChurn) int {
		return cmp.Or(cmp.Compare(b.Made+b.Deleted, a.Made+a.Deleted), cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Ino, b.Ino))
	})
	for _, c := range rows {
		age := Missing("none of the deleted was made while we looked")
		if c.Aged > 0 {
			age = Number(float64(c.Life) / float64(c.Aged) / 1e6)
		}
		dir := Name(collectors.Clean(c.Directory))
		if c.Directory.Bytes() == "" {
			dir = Say(fmt.Sprintf("inode %d", c.Ino))
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(c.Process, uint32(c.Dev), " ", c.Ino), Target: onDisk(aboutProcess(c.Process, c.Comm), c.Dev), Cells: []Cell{
			perSecond(c.Made, span), perSecond(c.Deleted, span), age, Number(float64(c.Process.TGID)),
			Name(collectors.Clean(c.Comm)), deviceName(f, c.Dev), dir,
		}})
	}
	if unlisted > 0 {
		t.Notes = append(t.Notes, widget.Count(uint64(unlisted))+" more rows are not listed")
	}
	return t
}
