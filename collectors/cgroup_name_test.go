// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"testing"
)

func TestContainerName(t *testing.T) {
	const (
		id  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		uid = "0e2a1b3c-9d8e-4f70-8123-456789abcdef"
	)
	under := strings.ReplaceAll(uid, "-", "_")
	tests := map[string]struct{ path, want string }{
		"root":                        {"/", "/"},
		"nothing":                     {"", "/"},
		"a service":                   {"/system.slice/nginx.service", "nginx.service"},
		"a template":                  {"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"},
		"below a service":             {"/system.slice/postgresql.service/worker", "postgresql.service/worker"},
		"an escaped service":          {`/system.slice/dev-disk\x2dby\x2did.service`, "dev-disk-by-id.service"},
		"an escape that is a control": {`/system.slice/x\x1b.service`, `x\x1b.service`},
		"half an escape":              {`/system.slice/x\x2`, `x\x2`},
		"a slice":                     {"/system.slice", "system.slice"},
		"init":                        {"/init.scope", "init.scope"},
		"a session":                   {"/user.slice/user-1000.slice/session-3.scope", "uid:1000/session-3"},
		"a user":                      {"/user.slice/user-1000.slice", "uid:1000"},
		"a user's manager":            {"/user.slice/user-1000.slice/user@1000.service", "uid:1000"},
		"a user's service":            {"/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", "uid:1000/foo.service"},
		"no user":                     {"/user.slice/user-x.slice", "user-x.slice"},
		"docker, systemd":             {"/system.slice/docker-" + id + ".scope", "docker:0123456789ab"},
		"docker, cgroupfs":            {"/docker/" + id, "docker:0123456789ab"},
		"inside docker":               {"/docker/" + id + "/init.scope", "docker:0123456789ab/init.scope"},
		"all of docker":               {"/docker", "docker"},
		"a pod, guaranteed":           {"/kubepods/pod" + uid, "pod:0e2a1b3c"},
		"a pod, burstable":            {"/kubepods/burstable/pod" + uid, "pod:0e2a1b3c burstable"},
		"a static pod":                {"/kubepods/besteffort/pod" + id[:32], "pod:01234567 besteffort"},
		"in a pod, cgroupfs":          {"/kubepods/burstable/pod" + uid + "/" + id, "pod:0e2a1b3c/0123456789ab"},
		"in a pod, containerd":        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id + ".scope", "pod:0e2a1b3c/0123456789ab"},
		"in a pod, cri-o":             {"/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + id + ".scope", "pod:0e2a1b3c/0123456789ab"},
		"a monitor of cri-o":          {"/kubepods.slice/kubepods-pod" + under + ".slice/crio-conmon-" + id + ".scope", "pod:0e2a1b3c/crio-conmon-" + id + ".scope"},
		"a slice of a pod":            {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice", "pod:0e2a1b3c burstable"},
		"wrong driver":                {"/system.slice/containerd.service/kubepods-besteffort-pod" + under + ".slice:cri-containerd:" + id, "containerd.service/pod:0e2a1b3c/0123456789ab"},
		"a class":                     {"/kubepods.slice/kubepods-besteffort.slice", "kubepods:besteffort"},
		"all pods":                    {"/kubepods.slice", "kubepods"},
		"a kind node":                 {"/docker/" + id + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + under + ".slice/cri-containerd-" + strings.Repeat("f", 64) + ".scope", "docker:0123456789ab/pod:0e2a1b3c/ffffffffffff"},
		"podman":                      {"/machine.slice/libpod-" + id + ".scope", "podman:0123456789ab"},
		"podman's payload":            {"/machine.slice/libpod-" + id + ".scope/container", "podman:0123456789ab/container"},
		"podman, rootless":            {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope", "podman:0123456789ab"},
		"podman, cgroupfs":            {"/libpod_parent/libpod-" + id, "podman:0123456789ab"},
		"lxc":                         {"/lxc/web", "lxc:web"},
		"lxc 4":                       {"/lxc.payload.web", "lxc:web"},
		"in lxc":                      {"/lxc.payload.web/system.slice/nginx.service", "lxc:web/nginx.service"},
		"docker in lxc":               {"/lxc/web/docker/" + id, "lxc:web/docker:0123456789ab"},
		"a machine":                   {`/machine.slice/machine-qemu\x2d3\x2ddb.scope`, "machine:qemu-3-db"},
		"unknown":                     {"/a/b/c", "b/c"},
		"an unknown ID":               {"/jobs/f6d3859df23e4548f5868d004dda2d61", "jobs/f6d3859df23e"},
		"too short for an ID":         {"/jobs/f6d3859d", "jobs/f6d3859d"},
		"outside our namespace":       {"/../../docker/" + id, "docker:0123456789ab"},
		"deleted":                     {"/system.slice/nginx.service (deleted)", "nginx.service"},
		"a pod with a short UID":      {"/kubepods/podabc", "kubepods/podabc"},
		"podcast.service":             {"/system.slice/podcast.service", "podcast.service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := containerName(tt.path); got != tt.want {
				t.Errorf("containerName(%q) = %q, want %q", tt.path, got, tt.want)
			}
		})
	}
}

func FuzzContainerName(f *testing.F) {
	f.Add("/kubepods/burstable/pod0e2a1b3c-9d8e-4f70-8123-456789abcdef/x")
	f.Add(`/user.slice/user-1000.slice/user@1000.service/x\x`)
	f.Add("/lxc/\x1b/..//docker/:")
	f.Fuzz(func(t *testing.T, path string) {
		if got := containerName(path); got == "" || len(got) > len(path)+len("kubepods:besteffort ") {
			t.Errorf("containerName(%q) = %q", path, got)
		}
	})
}
