// SPDX-License-Identifier: Apache-2.0

//go:build race

package triage

// raceDetector says that the tests run with the race detector, which takes memory of its own.
const raceDetector = true
