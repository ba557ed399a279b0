// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"testing"
)

// lacking skips a test with the missing feature named, and fails it in CI, where every machine can
// have what is asked for here. What a host may rightly be without, as the v1 hierarchies of
// cgroups, is a plain skip.
func lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format+"; CI must have it", args...)
	}
	t.Skipf(format, args...)
}
