// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// FindCgroup is the target of a cgroup by its path, as the recording has it: below the mount, or as a
// directory in the usual place of mounts. Of several that had the path one after the other it is the
// newest. The error names paths that are near.
func (r *Replay) FindCgroup(path string) (Target, error) {
	names, paths := cgroupPaths(path), make(map[string]bool)
	for end := len(r.blocks); end > 0; {
		first := end - 1
		for first > 0 && r.blocks[first-1].continues(r.blocks[first]) {
			first--
		}
		found := make([]*CgroupInfo, len(names))
		err := r.Each(context.Background(), Span{r.blocks[first].From, r.blocks[end-1].To}, func(s *Snapshot) {
			if s.Cgroups == nil {
				return
			}
			for i := range s.Cgroups.Rows {
				info := s.Cgroups.Rows[i].CgroupInfo
				paths[info.Path.Bytes()] = true
				if k := slices.Index(names, info.Path.Bytes()); k >= 0 {
					found[k] = info
				}
			}
		})
		if err != nil {
			return Target{}, err
		}
		if info := cmp.Or(found...); info != nil {
			return Target{Kind: CgroupTarget, Cgroup: info.ID, Name: Clean(info.Name).String()}, nil
		}
		end = first
	}
	if len(paths) == 0 {
		return Target{}, errors.New("the recording has no cgroups")
	}
	return Target{}, fmt.Errorf("the recording has no cgroup %s: near it are %s", Clean(RawString(path)), strings.Join(nearCgroups(names[len(names)-1], paths), ", "))
}

// cgroupPaths are the paths below a mount that a path can mean: as it stands, then without the directory
// where version 2 is mounted, then without that of a hierarchy in it.
func cgroupPaths(path string) []string {
	const mount = "/sys/fs/cgroup"
	out := []string{filepath.Clean("/" + path)}
	rest, ok := strings.CutPrefix(out[0], mount)
	if !ok || rest != "" && rest[0] != '/' {
		return out
	}
	out = append(out, filepath.Clean("/"+rest))
	if _, below, ok := strings.Cut(strings.TrimPrefix(rest, "/"), "/"); ok {
		out = append(out, "/"+below)
	}
	return out
}

// mostNear is how many paths are named instead of one that is not there.
const mostNear = 3

// nearCgroups are the paths that are most like one that is not among them, as text for people: those
// whose last name holds its last name or is held by it, then those that take the fewest changes.
func nearCgroups(path string, among map[string]bool) []string {
	type candidate struct {
		path string
		far  int
	}
	var all []candidate
	last := strings.ToLower(filepath.Base(path))
	for p := range among {
		name := strings.ToLower(filepath.Base(p))
		far := 0
		if name == "/" || !strings.Contains(name, last) && !strings.Contains(last, name) {
			far = changes(last, name)
		}
		all = append(all, candidate{p, far})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path))
	})
	var out []string
	for _, c := range all[:min(mostNear, len(all))] {
		out = append(out, Clean(RawString(c.path)).String())
	}
	return out
}

// changes is how many bytes must be put in, taken out or changed to make one text of another.
func changes(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above+1, row[j]+1, diagonal+cost)
			diagonal = above
		}
	}
	return row[len(b)]
}
