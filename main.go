// SPDX-License-Identifier: Apache-2.0

// Bpf60 shows in one minute which resource of a Linux host is short and who is the cause.
package main

import (
	"os"

	"bpf60/cli"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "devel"

func main() {
	os.Exit(cli.Main(version))
}
