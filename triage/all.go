// SPDX-License-Identifier: Apache-2.0

package triage

// All lists the rules. There are none yet.
func All() []Rule { return nil }
