// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"testing"
	"time"
)

func BenchmarkCollectCgroups(b *testing.B) {
	for name, targets := range map[string][]Target{"glance": nil, "all": {{Kind: CgroupTarget}}} {
		b.Run(name, func(b *testing.B) {
			c := NewCgroups(NewFS(""))
			start(b, c)
			if err := c.(Narrower).Narrow(targets); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			rows, n := 0, 0
			for now := time.Duration(0); b.Loop(); now += time.Second {
				s, err := c.Collect(context.Background(), now)
				if err != nil {
					b.Fatal(err)
				}
				rows, n = rows+len(s.(*Cgroups).Rows), n+1
			}
			b.ReportMetric(float64(rows)/float64(n), "rows/op")
		})
	}
}
