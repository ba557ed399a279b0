// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestDoctorSettles: doctor answers for every probe, none is still on its way when it ends. It waits a
// hundred seconds for one that never comes.
func TestDoctorSettles(t *testing.T) {
	out, err := exec.Command(binary(), "doctor", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Probes []struct{ Name, State, Reason string }
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Probes) < 50 {
		t.Errorf("%d probes, want 50 and more", len(d.Probes))
	}
	for _, p := range d.Probes {
		for _, words := range []string{"not read yet", "not started", "starting for", "waiting for a second"} {
			if strings.Contains(p.Reason, words) {
				t.Errorf("%s is %s: %s", p.Name, p.State, p.Reason)
			}
		}
	}
}
