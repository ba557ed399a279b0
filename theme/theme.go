// SPDX-License-Identifier: Apache-2.0

// Package theme holds styles by meaning, never by colour.
package theme
