// SPDX-License-Identifier: Apache-2.0

package main

func constantRows(options) ([]row, error) { return nil, nil }
