// SPDX-License-Identifier: Apache-2.0

package triage

// All lists the rules, with the limits that somebody chose; nil: the defaults. Of findings that are
// equally bad and began together the first is the answer.
func All(chosen Limits) []Rule {
	var rules []Rule
	for _, subject := range []func(Limits) []Rule{cpuRules, memoryRules, diskRules, fileRules, processRules, connectionRules, networkRules, kernelRules} {
		rules = append(rules, subject(chosen)...)
	}
	return rules
}
