# Needs Go 1.26 and make; the race detector also needs a C compiler, which `make test`
# installs where it may. Modules come through the Go proxy.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= dev
COMMIT ?= $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
BUILD_DATE ?= $(shell date -u $${SOURCE_DATE_EPOCH:+-d @$$SOURCE_DATE_EPOCH} +%Y-%m-%dT%H:%M:%SZ)

# Where `make man` writes the manual pages.
MAN_DIR ?= man

# Debian packages that tests use beside Go and a C compiler: a client and a browser for presigned URLs. What a
# test talks to, it brings along.
DEBIAN_PACKAGES ?= curl chromium awscli python3-boto3 s3cmd rclone restic s3fs

# The most that a package's tests may take, on a slow machine with the race detector on.
TEST_TIMEOUT ?= 20m

# What each of the eight clients of `make mem` sends and fetches.
TANDEM_MEM_BYTES ?= 1073741824

# How long `make fuzz` stays with each fuzz function.
FUZZ_TIME ?= 5m

# The rounds of `make torture`, and the seed that draws their faults.
TANDEM_TORTURE_ROUNDS ?= 500
TANDEM_TORTURE_SEED ?= 1

# 1: a test that skips, and anything that set-up had to leave out, is a failure.
TANDEM_TEST_ALL ?= 0
export TANDEM_TEST_ALL

# Tests must never ask a cloud for credentials.
export AWS_EC2_METADATA_DISABLED := true

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build ./tandem
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.buildDate=$(BUILD_DATE)" \
		-o tandem ./cmd/tandem

.PHONY: man
man: build ## Write the manual pages of all commands into MAN_DIR (default ./man)
	./tandem man $(MAN_DIR)

.PHONY: check
check: ## Everything that can be said of the code without running it
	@unformatted=$$(gofmt -l cmd internal); test -z "$$unformatted" || { echo "gofmt -w these:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags failpoint ./...
	$(GO) vet -tags mutant ./...
	$(GO) vet -tags minio ./internal/e2e
	$(GO) fix -diff ./...
	$(GO) mod tidy -diff
	$(GO) tool staticcheck ./...
	$(GO) tool staticcheck -tags failpoint ./...
	$(GO) tool staticcheck -tags mutant ./...
	$(GO) test -count=1 ./internal/archtest ./internal/sigv4 # what it allocates is counted without the race detector

# The steps of `make test`. With TANDEM_TEST_ALL=1 the run is verbose, to see what was
# skipped; of a run that passed, only each package's own line is shown.
.PHONY: test
test: setup ## Run every test, end to end ones included, with the race detector
	@race=-race; command -v "$$($(GO) env CC)" >/dev/null || race=; \
	run() { $(GO) test $$race -timeout $(TEST_TIMEOUT) -skip '^TestMemory' "$$@" ./...; }; \
	if [ "$(TANDEM_TEST_ALL)" != 1 ]; then run; exit; fi; \
	log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	if ! run -count=1 -v 2>&1 | tee "$$log" | grep -a --line-buffered -E '^(ok|\?|FAIL)[[:space:]]'; then \
		grep -avE '^ *(=== |--- PASS)' "$$log"; exit 1; \
	fi; \
	if grep -aE '^ *--- SKIP' "$$log"; then echo "these were skipped, and TANDEM_TEST_ALL=1 lets nothing be left out"; exit 1; fi

# Installs what tests need, where it may; names what it leaves out, where it may not.
.PHONY: setup
setup:
	@missing=(); \
	command -v "$$($(GO) env CC)" >/dev/null || missing+=(gcc libc6-dev); \
	for p in $(DEBIAN_PACKAGES); do dpkg -s "$$p" >/dev/null 2>&1 || missing+=("$$p"); done; \
	if [ $${#missing[@]} -eq 0 ]; then exit; fi; \
	as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	install() { $$as_root apt-get update -qq && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$$@" >/dev/null; }; \
	if command -v apt-get >/dev/null && install "$${missing[@]}"; then echo "installed: $${missing[*]}"; exit; fi; \
	echo "left out, for these packages could not be installed: $${missing[*]}"; \
	case " $${missing[*]} " in *" gcc "*) echo "without a C compiler the race detector is off";; esac; \
	[ "$(TANDEM_TEST_ALL)" != 1 ]

# Which tests `make test-minio` and `make test-poor` run.
E2E_RUN ?= .

# The end-to-end tests with regions of the kind $(1), other than embedded ones, and then how many of them ran, which were
# skipped, and why. Of a run that passed only a line for each test is shown. $(2) are more flags.
define test_e2e
	log="$$dir/log"; failed=0; \
	TANDEM_E2E_REGIONS=$(1) $(GO) test $(2) ./internal/e2e -run '$(E2E_RUN)' -skip '^TestMemory' -parallel 2 -count=1 -v -timeout 60m 2>&1 \
		| tee "$$log" | grep -a --line-buffered -E '^(--- |ok|FAIL|panic)' || failed=1; \
	if [ $$failed = 1 ]; then grep -avE '^ *(=== |--- PASS)' "$$log"; fi; \
	awk -v kind=$(1) '/^--- PASS/ { passed++ } /^--- FAIL/ { failed++ } /^--- SKIP/ { skipped++ } \
		/_test\.go:[0-9]+: Test[^ ]+ needs / { sub(/^.*_test\.go:[0-9]+: /, ""); reasons[n++] = $$0 } \
		END { printf "with %s regions %d tests passed, %d failed, %d were skipped; tests, and parts of tests, that were skipped:\n", kind, passed, failed, skipped; \
			for (i = 0; i < n; i++) print "  " reasons[i] }' "$$log"; \
	exit $$failed
endef

# MinIO comes through the Go proxy, is built into a temporary folder, and is no part of the module.
.PHONY: test-minio
test-minio: ## Build a MinIO (slow); ask it what a region must do; run the end-to-end tests with a MinIO for each region
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; export TANDEM_MINIO="$${TANDEM_MINIO:-}"; \
	if [ -z "$$TANDEM_MINIO" ]; then GOBIN="$$dir" $(GO) install github.com/minio/minio@latest; TANDEM_MINIO="$$dir/minio"; fi; \
	$(call test_e2e,minio,-tags minio)

.PHONY: test-poor
test-poor: ## Run the end-to-end tests with regions without uploads in parts, tags and conditions on writes
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(call test_e2e,poor)

.PHONY: mem
mem: ## Measure the gateway's memory under eight clients, TANDEM_MEM_BYTES each way (default 1 GiB)
	TANDEM_MEM_BYTES=$(TANDEM_MEM_BYTES) $(GO) test ./internal/e2e -run '^TestMemory' -count=1 -v -timeout 60m

# Whatever `go test -list` knows is fuzzed, each in turn, the others too where one finds
# something. Go keeps that input below testdata/fuzz, where every later `go test` tries it.
.PHONY: fuzz
fuzz: ## Fuzz every parser of outside input, FUZZ_TIME each (default 5m)
	@targets=$$($(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[n++] = $$1 } $$1 == "ok" { while (n) print $$2, names[--n] }'); \
	test -n "$$targets" || { echo "there is nothing to fuzz"; exit 1; }; \
	found=(); while read -r package name; do \
		echo "$$package $$name"; \
		$(GO) test "$$package" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ_TIME) </dev/null || found+=("$$name"); \
	done <<< "$$targets"; \
	test $${#found[@]} -eq 0 || { echo "found something: $${found[*]}"; exit 1; }

.PHONY: mutants
mutants: ## Break each rule of the protocol in turn, and see that the simulation notices
	$(GO) test -tags mutant ./internal/sim -run '^(TestMutants|TestEveryMutantIsHunted)$$' -count=1 -v -timeout 60m

# How long `make sim` goes on, and from which seed.
SIM_TIME ?= 10m
SIM_START ?= 1

.PHONY: sim
sim: ## Run seeded histories of the whole gateway for SIM_TIME (default 10m), from SIM_START
	$(GO) test ./internal/sim -run '^TestEveryPromise' -for=$(SIM_TIME) -start=$(SIM_START) -count=1 -v -timeout 12h | grep -v -E '^ *(=== |--- PASS)'

.PHONY: torture
torture: ## Kill, stop, promote and fill the disk under load, TANDEM_TORTURE_ROUNDS times (default 500)
	TANDEM_TORTURE_ROUNDS=$(TANDEM_TORTURE_ROUNDS) TANDEM_TORTURE_SEED=$(TANDEM_TORTURE_SEED) $(GO) test ./internal/e2e \
		-run '^TestTorture$$' -count=1 -v -parallel 8 -timeout 120m -artifacts -outputdir "$$(mktemp -d)"

.PHONY: docs
docs: ## Write anew what in the documents comes from the code
	$(GO) test -count=1 ./cmd/tandem -run '^(TestReadme|TestExample)' -update
	$(GO) test -count=1 ./internal/s3op -run '^TestCompatibilityPage' -update
