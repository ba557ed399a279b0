# SPDX-License-Identifier: Apache-2.0

# Everything a developer or a CI machine runs. `make` and `make run` need git, make and Go only:
# the BPF objects are committed. The rest installs what it needs on Debian; see test-deps.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# Go is often installed where only login shells look.
export PATH := $(PATH):/usr/local/go/bin
GO      ?= $(or $(shell command -v go),/usr/local/go/bin/go)
TOOL    := $(GO) tool -modfile=tools.mod
PREFIX  ?= /usr/local
DESTDIR ?=

VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),devel)
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# The objects are the same bytes everywhere because everybody makes them with this compiler.
CLANG         := clang-19
CLANG_VERSION := 19.1.7
CLANG_FORMAT  := clang-format-19

GO_FILES = $(shell git ls-files --cached --others --exclude-standard '*.go' | grep -v _bpfel)
C_FILES  = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')

# The packages come first, and two cores are busy anyway.
.NOTPARALLEL:

.PHONY: build
build: ## build ./bpf60, static, with the BPF objects inside
	$(BUILD) -o bpf60 .

.PHONY: run
run: build ## build and start it, through sudo where needed
	@if [ "$$(id -u)" -ne 0 ] && command -v sudo >/dev/null; then exec sudo ./bpf60; fi; exec ./bpf60

# One object at a time keeps one CPU busy.
GENERATE = printf '%s\n' bpf/*.bpf.c | sed 's|bpf/||' | xargs -P "$$(nproc)" -I {} $(GO) generate -run ' {}$$' ./bpf

.PHONY: generate
generate: clang ## make the BPF objects and the README's tables anew
	$(GENERATE)
	./test/readme-keys --write

.PHONY: clang
clang:
	@have=$$($(CLANG) --version 2>/dev/null | sed -n 's/.*clang version \([0-9.]*\).*/\1/p') || true; \
	if [ "$$have" != '$(CLANG_VERSION)' ]; then \
		echo >&2 "the BPF objects are made with $(CLANG) $(CLANG_VERSION), here is $${have:-none}: make test-deps (Debian 12)"; exit 1; \
	fi

.PHONY: check
check: test-deps format vet lint generated builds ## formats, vet, linters, generated files, all builds

.PHONY: format
format:
	@out=$$($(TOOL) gofumpt -l $(GO_FILES)); if [ -n "$$out" ]; then echo >&2 "not formatted, run make fmt:"; echo >&2 "$$out"; exit 1; fi
	$(CLANG_FORMAT) --dry-run --Werror $(C_FILES)

.PHONY: fmt
fmt: ## format all Go and C files
	$(TOOL) gofumpt -w $(GO_FILES)
	$(CLANG_FORMAT) -i $(C_FILES)

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint:
	$(TOOL) golangci-lint run ./...

.PHONY: generated
generated: clang
	@was=$$(sha256sum bpf/*_bpfel.*); $(GENERATE); \
	if ! diff <(echo "$$was") <(sha256sum bpf/*_bpfel.*); then echo >&2 "the BPF objects are not of these sources: commit what make generate made"; exit 1; fi
	./test/readme-keys

.PHONY: builds
builds:
	CGO_ENABLED=1 $(GO) build ./...
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build ./...

.PHONY: test
test: test-deps ## every test of one machine, with the race detector; as root the privileged ones too
	@# Alone, because others load the host: what programs in the kernel count of all of it, what the screen
	@# says of it, and at the end the comparison with other tools, with its table of differences.
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 30m ./bpf
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 30m $$($(GO) list ./... | grep -v '/bpf$$\|/test/compare\|/test/e2e')
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 30m ./test/e2e
	@# What the race detector leaves out: it has a memory of its own, and is slow. Of the panes it has a part.
	$(GO) test -count=1 -run '^(TestMemoryComesBack|TestFullHistory|TestHistoryStaysWithinItsBudget)$$' ./cli ./triage
	$(GO) test -count=1 ./panes
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 15m -v ./test/compare

.PHONY: test-kernels
test-kernels: test-deps ## the kernel matrix: Debian's 5.10, 6.1, 6.12 and 7.x in QEMU
	$(GO) run ./test/kernels

.PHONY: test-deps
test-deps: ## install what the tests need (Debian packages, as root)
	@./test/deps

.PHONY: bench
bench: test-deps ## measure against the budgets, as ratios beside other tools
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./test/bench

FUZZTIME ?= 5s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

.PHONY: install
install: build ## install into PREFIX (/usr/local)
	install -D -m 0755 bpf60 '$(DESTDIR)$(PREFIX)/bin/bpf60'

.PHONY: clean
clean: ## remove what was built
	rm -rf bpf60 dist

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
