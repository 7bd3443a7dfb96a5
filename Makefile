# etcd-rest: what there is to make. Each target installs the system packages it needs first (apt; sudo where not root).

# One file that runs without a Swift toolchain, in three quarters of the memory: no Foundation and no ICU to load. Nothing
# looks its symbols up at run time, and their table would be another megabyte.
release = swift build -c release --product etcd-rest --static-swift-stdlib -Xlinker --no-export-dynamic

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18

run: ## start a local etcd (root's password: rootpw) and the gateway on 127.0.0.1:8379
	@scripts/install-system-packages run
	@scripts/install-swagger-ui
	$(release)
	@exec "$$(swift build -c release --show-bin-path)/etcd-rest" dev --listen 127.0.0.1:8379 --auth rootpw

build: ## build the release binary
	@scripts/install-system-packages build
	@scripts/install-swagger-ui
	$(release)

unit: ## run the tests that need no etcd, browser or proxy, for a first answer
	@scripts/install-system-packages build
	swift build --product etcd-restPackageTests
	$(run_tests) --filter '$(unit_tests)' --filter '^TLSTests' --skip '^GrpcBridgeTests\.Client'

test: ## check, then run all tests (those of one process under AddressSanitizer), and the fuzzers for a moment
	@scripts/install-system-packages test
	@scripts/install-etcd
	@scripts/install-swagger-ui
	@scripts/install-python-tools
	scripts/check
	$(run_tests) --skip '$(alone)' --skip '$(unit_tests)'
	$(run_tests) --filter '$(alone)'
	swift build --product etcd-restPackageTests --sanitize=address --scratch-path .build-asan
	$(run_tests) --sanitize=address --scratch-path .build-asan --filter '$(unit_tests)' --skip '$(alone)'
	scripts/fuzz 20
# Not all at once, which is the default: on two cores each would then be too slow for its deadlines.
run_tests = swift test --skip-build --disable-xctest --experimental-maximum-parallelization-width 8
# Those that look at a whole process, from outside: one of Swift's few threads waits for each.
alone = ^GrpcBridgeTests\.ClientFootprintTests
# Those that test our own code in one process: most of GatewayTests tests another one.
in_process = (Forwarded|ProxyGreeting|AllowedHosts|MemoryAccount|TakenOverConnection|WebSocketProtocol|WebSocketHandshake)Tests
unit_tests = ^((EtcdSchema|Transcoding|EventLoop|GrpcBridge)Tests|GatewayTests\.$(in_process))(\.|/)

image-test: ## build the images of docker/ and try them, without Docker; as root
	@scripts/install-system-packages image
	scripts/check-image

debian13-test: ## build and run the tests on Debian 13, in a root of its own; as root
	@scripts/install-system-packages image
	scripts/check-debian13

patroni-test: ## have Patroni and PostgreSQL keep their state in etcd through the gateway, and let things go wrong
	@scripts/install-system-packages patroni
	@scripts/install-etcd
	$(release)
	scripts/try-patroni

fuzz: ## run the fuzzers, SECONDS each (default 300)
	@scripts/install-system-packages build
	scripts/fuzz $(or $(SECONDS),300)

bench: ## measure beside etcd's own gateway and the speed of light; ARGUMENTS="--record --workloads range,put"
	@scripts/install-system-packages bench
	@scripts/install-etcd
	$(release)
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
	scripts/generate-openapi

docs: ## build the documentation of the library
	@scripts/install-system-packages build
	scripts/docs

format: ## format the Swift files
	scripts/format

clean: ## remove everything that was built
	rm -rf .build .build-*

.PHONY: help run build unit test image-test debian13-test patroni-test fuzz bench generate openapi docs format clean
