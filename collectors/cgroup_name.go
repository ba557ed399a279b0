// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strconv"
	"strings"
)

// containerName is the short name a person has for the cgroup at path, which is as /proc/PID/cgroup
// prints it: nginx.service, uid:1000/session-3, docker:0123456789ab, pod:0e2a1b3c/0123456789ab, lxc:web.
// Identifiers are cut to what the runtimes' own tools take: twelve digits of a container's, the
// first eight of a pod's. What is inside of a container is named behind it: lxc:web/nginx.service.
// A path of no known form keeps its last two names. The root is "/".
//
// Others choose the path, so the result is text for Raw.
func containerName(path string) string {
	path = strings.TrimSuffix(path, " (deleted)")
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p != "" && p != ".." && p != "." { // ../ leads out of the reader's cgroup namespace
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "/"
	}
	var names []string
	for len(parts) > 0 {
		name, n := outermost(parts)
		if n == 0 {
			break
		}
		names, parts = append(names, name), parts[n:]
	}
	// What is left is in no container: of its names the last says most, and in none the two last.
	if n := len(parts); n > 0 {
		if len(names) == 0 && n > 1 && !strings.Contains(parts[n-1], ".") && !strings.HasSuffix(parts[n-2], ".slice") {
			names = append(names, unitName(parts[n-2]))
		}
		names = append(names, unitName(parts[n-1]))
	}
	return strings.Join(names, "/")
}

// outermost looks for the first container, pod, user or service in parts: its name, and how many
// parts lead to it, itself included; 0 if there is none.
func outermost(parts []string) (name string, n int) {
	qos := ""
	for i, p := range parts {
		before := ""
		if i > 0 {
			before = parts[i-1]
		}
		if q, ok := qosClass(p); ok {
			qos = q
			if i == len(parts)-1 {
				return strings.TrimSuffix("kubepods:"+q, ":"), i + 1
			}
			continue
		}
		switch pod, id, kind := podUID(p), "", ""; {
		case pod != "":
			name, n = "pod:"+pod, i+1
			if qos == "" {
				qos = qosOf(p)
			}
			if _, id, ok := strings.Cut(p, ":"); ok { // containerd under the wrong driver: slice:prefix:id
				return name + "/" + shortID(id[strings.LastIndexByte(id, ':')+1:]), n
			}
			if n < len(parts) {
				if _, id = scopeID(parts[n]); id == "" && isID(parts[n]) {
					id = parts[n]
				}
				if id != "" {
					return name + "/" + shortID(id), n + 1
				}
			}
			if n == len(parts) && qos != "" {
				name += " " + qos
			}
			return name, n
		case strings.HasPrefix(p, "lxc.payload.") || strings.HasPrefix(p, "lxc.monitor."):
			return "lxc:" + p[len("lxc.payload."):], i + 1
		case before == "lxc" || before == "lxc.payload" || before == "lxc.monitor":
			return "lxc:" + p, i + 1
		case before == "docker" && isID(p):
			return "docker:" + shortID(p), i + 1
		default:
			if kind, id = scopeID(p); id != "" {
				return kind + ":" + shortID(id), i + 1
			}
			if machine, ok := strings.CutPrefix(p, "machine-"); ok && strings.HasSuffix(p, ".scope") {
				return "machine:" + unescape(strings.TrimSuffix(machine, ".scope")), i + 1
			}
		}
		if uid, ok := strings.CutPrefix(p, "user-"); ok && strings.HasSuffix(uid, ".slice") && digits(strings.TrimSuffix(uid, ".slice")) {
			return userName(parts, i, strings.TrimSuffix(uid, ".slice"))
		}
		if strings.HasSuffix(p, ".service") {
			return unitName(p), i + 1
		}
	}
	return "", 0
}

// userName names what belongs to a user: uid:1000/session-3, uid:1000/foo.service. A container of
// the user's is named as any other.
func userName(parts []string, i int, uid string) (name string, n int) {
	rest := parts[i+1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "user@") {
		rest = rest[1:]
	}
	for k, p := range rest {
		if kind, id := scopeID(p); id != "" {
			return kind + ":" + shortID(id), len(parts) - len(rest) + k + 1
		}
	}
	name = "uid:" + uid
	if len(rest) == 0 {
		return name, len(parts)
	}
	return name + "/" + unitName(rest[len(rest)-1]), len(parts)
}

// scopeID takes docker-ID.scope and its likes apart.
func scopeID(p string) (kind, id string) {
	for _, k := range [...]struct{ prefix, kind string }{
		{"docker-", "docker"},
		{"cri-containerd-", "containerd"},
		{"crio-conmon-", ""},
		{"crio-", "cri-o"},
		{"libpod-conmon-", ""},
		{"libpod-", "podman"},
		{"nerdctl-", "containerd"},
		{"buildkit-", "buildkit"},
	} {
		rest, ok := strings.CutPrefix(p, k.prefix)
		if !ok {
			continue
		}
		rest = strings.TrimSuffix(rest, ".scope")
		if k.kind == "" || !isID(rest) {
			return "", ""
		}
		return k.kind, rest
	}
	return "", ""
}

// podUID finds the first eight digits of a pod's UID in pod0e2a1b3c-… and
// kubepods-burstable-pod0e2a1b3c_….slice, "" in what is neither.
func podUID(p string) string {
	rest, ok := strings.CutPrefix(p, "pod")
	if !ok {
		if !strings.Contains(p, "kubepods") {
			return ""
		}
		if _, rest, ok = strings.Cut(p, "-pod"); !ok {
			return ""
		}
	}
	const least, shown = 32, 8 // static pods have no dashes
	n := 0
	for n < len(rest) && (hexDigit(rest[n]) || rest[n] == '-' || rest[n] == '_') {
		n++
	}
	if n < least || !isHex(rest[:shown]) || n < len(rest) && rest[n] != '.' && rest[n] != ':' {
		return ""
	}
	return rest[:shown]
}

// qosClass says whether p is a level of Kubernetes above its pods, and of which class.
func qosClass(p string) (class string, ok bool) {
	switch p {
	case "kubepods", "kubepods.slice", "kubelet.slice", "kubelet-kubepods.slice", "kubelet":
		return "", true
	case "burstable", "besteffort":
		return p, true
	}
	if strings.Contains(p, "kubepods-") && strings.HasSuffix(p, ".slice") && podUID(p) == "" {
		return qosOf(p), qosOf(p) != ""
	}
	return "", false
}

func qosOf(p string) string {
	for _, q := range [...]string{"burstable", "besteffort"} {
		if strings.Contains(p, q) {
			return q
		}
	}
	return ""
}

// unitName is a unit's name as systemctl prints it, without what says nothing.
func unitName(p string) string {
	if id, ok := strings.CutPrefix(p, "session-"); ok && strings.HasSuffix(id, ".scope") {
		return strings.TrimSuffix(p, ".scope")
	}
	if isID(p) {
		return shortID(p)
	}
	return unescape(p)
}

// unescape undoes systemd's \x2d where what it hides is a printable character.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil && c > ' ' && c < 0x7f {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// shortID cuts a container's ID to the twelve digits that docker ps and crictl print.
func shortID(s string) string {
	const shown = 12
	if isID(s) {
		return s[:shown]
	}
	return s
}

// isID says whether s looks like an ID that a program made: hex digits, more than anybody types.
func isID(s string) bool {
	const least = 32
	return len(s) >= least && isHex(s)
}

func isHex(s string) bool {
	for i := range len(s) {
		if !hexDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func hexDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
