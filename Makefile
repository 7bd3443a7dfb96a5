# etcd-rest: what there is to make. Each target installs the system packages it needs first (apt; sudo where not root).

# One file that runs without a Swift toolchain, in three quarters of the memory: no Foundation and no ICU to load.
# Nothing looks its symbols up at run time, and their table would be another megabyte. Swift's checks of exclusive access
# are for debug builds, in which the tests run: they would be a sixth of a request's instructions.
export GATEWAY_FLAGS := -c release -Xswiftc -enforce-exclusivity=unchecked --static-swift-stdlib -Xlinker --no-export-dynamic
release = swift build --product etcd-rest $$GATEWAY_FLAGS
# After that it costs seconds: the same modules in the same folder.
transcoding = swift build --product TranscodingBenchmark $$GATEWAY_FLAGS

# What it was built from, for --version: passed to the linker, so that another commit costs a link and compiles nothing.
# Outside of a clone, COMMIT= may say it.
COMMIT := $(shell test ! -e .git || git describe --always --exclude '*' --abbrev=12 --dirty 2> /dev/null)
ifneq ($(COMMIT),)
GATEWAY_FLAGS += -Xlinker --package-metadata={"name":"etcd-rest","commit":"$(COMMIT)"}
endif

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18

run: ## start a local etcd (root's password: rootpw) and the gateway on 127.0.0.1:8379
	@scripts/install-system-packages run
	@scripts/install-swagger-ui
	$(release)
	@exec "$$(swift build -c release --show-bin-path)/etcd-rest" dev --listen 127.0.0.1:8379 --auth rootpw

cluster: ## run three etcds, two gateways, HAProxy and Prometheus until Ctrl-C; ARGUMENTS="--port 8000 --prometheus-port 9090"
	@scripts/install-system-packages cluster
	@scripts/install-etcd
	@scripts/install-swagger-ui
	$(release)
	@exec scripts/run-cluster $(ARGUMENTS)

build: ## build the release binary
	@scripts/install-system-packages build
	@scripts/install-swagger-ui
	$(release)

unit: ## run the tests that need no etcd, browser or proxy, for a first answer
	@scripts/install-system-packages build
	swift build --product etcd-restPackageTests
	swift test --skip-build --disable-xctest $(width) --filter '$(leak_tests)' --filter '^(Router|TLS)Tests' --skip '^EtcdClientTests\.Client'

test: ## check and run all tests, with their own process under AddressSanitizer, and the fuzzers for a moment
	@scripts/install-system-packages build
	$(MAKE) --jobs=5 check gateway-tests other-tests program-tests check-costs short-fuzz

# One build of the tests, for those that check this project's code in their own process and for those that check the
# gateway as users run it. Two builds would cost six minutes more.
sanitized = --sanitize=address --scratch-path .build-asan
# Not all at once, which is the default: on two cores each would then be too slow for its deadlines.
width = --experimental-maximum-parallelization-width 12
# Tests of processes outside, with as little of AddressSanitizer as there can be: its notes for reports were a fifth of their time.
from_outside = ASAN_OPTIONS=detect_leaks=0:malloc_context_size=0:quarantine_size_mb=8:max_malloc_fill_size=0:detect_stack_use_after_return=0
# The program of the tests itself: SwiftPM would have two runs wait for each other.
run_sanitized = .build-asan/debug/etcd-restPackageTests.xctest --testing-library swift-testing $(width)
# Tests of a whole process from outside: each blocks one of Swift's few threads.
alone = ^EtcdClientTests\.ClientFootprintTests
# This project's code in the process of the tests: a whole gateway would delay the others in it, and what is checked
# from outside does without most of AddressSanitizer.
in_process = ^(GatewayTests\.InProcessGateway|Router|TLS)Tests
# Tests of what may differ over TLS: the ends of requests, answers and connections.
over_tls = ^GatewayTests\.(AbsoluteForm|HalfClose|Head|HTTPBehaviour|KeyImport|LineStream|SlowReader|Takeover|WebSocketCall|WebSocketStream)Tests
# Tests that are checked for leaks. Foundation, which others use, leaks memory for each empty file that it reads; the
# route tables that RouterTests make live as long as a process.
leak_tests = ^(EtcdSchema|ProtobufWire|Transcoding|EventLoop|HTTPServer|GrpcBridge|EtcdClient)Tests(\.|/)

# The parts of `make test`. Each begins as soon as what it needs is there: most wait more than they compute.
check: check-sources check-program check-docs

check-sources:
	scripts/check

build-program:
	scripts/build etcd-rest $$GATEWAY_FLAGS

build-tests:
	scripts/build etcd-restPackageTests $(sanitized)

install-test-tools:
	@scripts/install-system-packages test
	@scripts/install-etcd
	@scripts/install-envoy
	@scripts/install-swagger-ui
	@scripts/install-python-tools

check-program: build-program
	scripts/check-program .build/release/etcd-rest $(COMMIT)

check-docs: build-tests
	scripts/docs .build/EtcdClient.doccarchive $(sanitized) > /dev/null

gateway-tests other-tests: export TESTED_GATEWAY = $(CURDIR)/.build/release/etcd-rest
gateway-tests: build-program build-tests install-test-tools
	$(from_outside) $(run_sanitized) --skip '$(alone)' --skip '$(in_process)' --skip '$(leak_tests)'

other-tests: build-program build-tests install-test-tools
	$(run_sanitized) --filter '$(leak_tests)' --skip '$(alone)'
	ASAN_OPTIONS=detect_leaks=0 $(run_sanitized) --filter '$(alone)'
	ASAN_OPTIONS=detect_leaks=0 $(run_sanitized) --filter '$(in_process)'
	OVER_TLS=1 $(from_outside) $(run_sanitized) --filter '$(over_tls)'

program-tests: build-program install-test-tools
	$(check_operation)
	scripts/soak .build/release/etcd-rest 60
	scripts/check-clients .build/release/etcd-rest --quick
	scripts/check-examples .build/release/etcd-rest

# When the machine is calmer: on a busy one, samples and ticks of the gateway count for more.
check-costs: other-tests program-tests
	scripts/build TranscodingBenchmark RequestBenchmark $$GATEWAY_FLAGS
	scripts/check-costs

# Its compilers would delay those that the tests wait for.
short-fuzz: build-program build-tests
	scripts/fuzz 5

define check_operation
	scripts/check-deploy
	scripts/check-upgrade
	scripts/check-cluster
	scripts/check-proxies
	scripts/check-kubernetes
endef

tsan: ## run the tests in which threads meet under ThreadSanitizer
	@scripts/install-system-packages test
	@scripts/install-etcd
	scripts/check-threads

deploy-test: ## try alerts, dashboard, upgrades, proxies and a cluster whose members and gateways die, and check the manifests
	@scripts/install-system-packages test
	@scripts/install-etcd
	@scripts/install-envoy
	@scripts/install-python-tools
	$(release)
	$(check_operation)

clients-test: ## generate a client for each language, compile and use it; make requests up from the description
	@scripts/install-system-packages clients
	@scripts/install-etcd
	@scripts/install-python-tools
	$(release)
	scripts/check-clients .build/release/etcd-rest
	scripts/check-clients .build/release/etcd-rest --older
	scripts/check-description .build/release/etcd-rest
	scripts/check-examples .build/release/etcd-rest --all

deb: ## build the Debian package, for the release of Debian that runs here, into .build-packages
	@scripts/install-system-packages deb
	@scripts/install-swagger-ui
	$(release)
	scripts/build-package deb

tarball: ## build a tar.gz of the program and its files into .build-packages
	@scripts/install-system-packages deb
	@scripts/install-swagger-ui
	$(release)
	scripts/build-package tarball

deb-test: ## install, use, upgrade and purge the Debian package in a root that systemd boots; as root
	@scripts/install-system-packages deb
	@scripts/install-swagger-ui
	$(release)
	scripts/check-deb

image-test: ## build the images of docker/ and try them, without Docker; as root
	@scripts/install-system-packages image
	scripts/check-image

debian13-test: ## build and run the tests on Debian 13, in a root of its own; as root
	@scripts/install-system-packages image
	scripts/check-debian13

libmicrohttpd-test: build-program build-tests ## run the tests of HTTP with the libmicrohttpd of Debian testing
	scripts/check-libmicrohttpd

patroni-test: ## have Patroni and PostgreSQL keep their state in etcd through the gateway, and let things go wrong
	@scripts/install-system-packages patroni
	@scripts/install-etcd
	$(release)
	scripts/try-patroni

soak: ## have clients of all kinds come and go for SECONDS (default 3600), while members and settings change
	@scripts/install-system-packages test
	@scripts/install-etcd
	$(release)
	scripts/soak .build/release/etcd-rest $(or $(SECONDS),3600)

fuzz: ## run the fuzzers, SECONDS each (default 300)
	@scripts/install-system-packages build
	scripts/fuzz $(or $(SECONDS),300)

bench: ## measure beside etcd's own gateway, Envoy and the speed of light, in some 10 minutes; ARGUMENTS="--record"
	@scripts/install-system-packages bench
	@scripts/install-etcd
	@scripts/install-envoy
	$(release)
	$(transcoding)
	Benchmarks/run $(ARGUMENTS)

generate: ## rewrite the generated code from the .proto files, the table of errors and the examples
	@scripts/install-system-packages generate
	scripts/generate
	scripts/generate-errors
	scripts/generate-examples

openapi: ## rewrite the description of the API in openapi/ from the routes, the .proto files and the examples
	@scripts/install-system-packages build
	scripts/generate-examples
	swift build --product etcd-rest
	scripts/generate-openapi "$$(swift build --show-bin-path)/etcd-rest"

docs: ## build the documentation of the library
	@scripts/install-system-packages build
	scripts/docs

format: ## format the Swift files
	scripts/format

clean: ## remove everything that was built
	rm -rf .build .build-*

.PHONY: help run cluster build unit test check check-sources check-program check-docs build-program build-tests install-test-tools gateway-tests other-tests program-tests check-costs short-fuzz tsan deploy-test clients-test soak deb tarball deb-test image-test debian13-test libmicrohttpd-test patroni-test fuzz bench generate openapi docs format clean
