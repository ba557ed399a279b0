// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"
)

// dirents is what getdents64 returns for a directory of such names.
func dirents(names ...string) (b []byte) {
	for _, name := range names {
		n := (19 + len(name) + 1 + 7) &^ 7
		entry := make([]byte, n)
		binary.NativeEndian.PutUint16(entry[16:], uint16(n))
		copy(entry[19:], name)
		b = append(b, entry...)
	}
	return b
}
