# `make serve` and `make test` set up all they need; `make help` lists the rest. GNU make 3.81, macOS's, has to do.

PYTHON ?= python3
ARGS ?=
FASTIM_BUILD ?= release
TESTS ?= tests
PYTEST_ARGS ?=
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
FASTIM_CRASH_POINTS ?= 50
FASTIM_FUZZ_FRAMES ?= 200000
FASTIM_FUZZ_SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --prefer-binary
NATIVE := $(shell find ext -type f -name '*.[pch]*')
STUBBED := $(patsubst fastim/%.pyi,fastim.%,$(wildcard fastim/_*.pyi))

ifeq ($(filter release portable,$(FASTIM_BUILD)),)
$(error FASTIM_BUILD=$(FASTIM_BUILD) cannot be run: use release or portable)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve build test check lint types contracts stubs workflows fragments test-native
.PHONY: console console-check console-e2e console-deps
.PHONY: sanitize sanitized fuzz conformance e2e sdk sdk-deps crash bench bench-spine bench-rooms bench-peers bench-peers-deps annotate proto changelog wheels clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'
	@echo 'WORKERS says how many tests run at once: one more than there are processors, since many of them wait.'
	@echo 'FASTIM_BUILD=portable builds without the calls that only Linux has.'
	@echo 'PYTHON names the Python (3.11 or newer) to make .venv with; ARGS go to serve, TESTS and PYTEST_ARGS to pytest.'

serve: build ## build and start a server with its data in ./data; ARGS="..." adds flags
	@exec $(BIN)/fastim serve --data ./data --show-keys $(ARGS)

build: build/.native ## make .venv and compile, which leaves .venv/bin/fastim

test: build $(VENV)/.test ## the quick suite: everything in tests/ but conformance, console, sdk and crash
	$(BIN)/pytest --numprocesses=$(WORKERS) $(TESTS) $(PYTEST_ARGS)

check: lint types contracts stubs workflows fragments ## all of them; `make -k check` goes on after the first failure

lint: $(VENV)/.tools ## ruff and cython-lint
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint ext

types: build $(VENV)/.tools ## mypy --strict
	$(BIN)/mypy

contracts: $(VENV)/.tools ## who may import whom
	$(BIN)/lint-imports --no-logo

stubs: build $(VENV)/.tools ## the native modules' stubs against the build
	$(BIN)/stubtest --mypy-config-file pyproject.toml --allowlist tools/stubtest.allow --ignore-unused-allowlist $(STUBBED)

workflows: $(VENV)/.tools ## GitHub's workflows
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github

fragments: $(VENV)/.tools ## the names in changes/
	@mkdir -p build
	@$(call quietly,build/fragments.log,$(BIN)/towncrier build --draft --version next)

test-native: build $(VENV)/.test ## the native modules' tests, on a build with every check switched on
	@$(call quietly,build/checked.log,FASTIM_BUILD=checked $(BIN)/python setup.py -q build --build-lib build/checked)
	$(BIN)/pytest -o pythonpath='build/checked .' tests/native $(PYTEST_ARGS)

# Python's own allocator would hide overruns from ASan, and what CPython keeps at its end is not a leak.
SANITIZED_PYTEST = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
    $(BIN)/pytest -o pythonpath='build/sanitize .'

sanitize: sanitized ## the same, and a little fuzzing, under AddressSanitizer and UndefinedBehaviorSanitizer; Linux, gcc
	$(SANITIZED_PYTEST) tests/native tests/fuzz $(PYTEST_ARGS)

fuzz: sanitized ## FASTIM_FUZZ_FRAMES (200000) mutated frames on each door, sanitized; FASTIM_FUZZ_SEED makes them again
	FASTIM_FUZZ_FRAMES=$(FASTIM_FUZZ_FRAMES) FASTIM_FUZZ_SEED=$(FASTIM_FUZZ_SEED) \
	    $(SANITIZED_PYTEST) tests/fuzz --timeout=3600 $(PYTEST_ARGS)

sanitized: build $(VENV)/.test
	@[ "$$(uname)" = Linux ] || $(call fail,sanitizers need Linux and gcc)
	@$(call quietly,build/sanitize.log,FASTIM_BUILD=sanitize $(BIN)/python setup.py -q build --build-lib build/sanitize)

conformance: build $(VENV)/.conformance ## the Autobahn cases against the WebSocket codec
	$(BIN)/pytest tests/conformance --timeout=300 $(PYTEST_ARGS)

e2e: build $(VENV)/.test ## a real server, real sockets, our client
	$(BIN)/pytest tests/end_to_end $(PYTEST_ARGS)

sdk: build $(VENV)/.test sdk-deps ## official SDKs against a real server; needs node and npm
	$(BIN)/pytest --numprocesses=auto tests/sdk --timeout=300 $(PYTEST_ARGS)

sdk-deps: tests/sdk/node_modules/.package-lock.json

console: console/node_modules/.package-lock.json ## build the console's pages from console/ into fastim/console; needs node and npm
	@$(call quietly,build/console.log,cd console && npm run build)

console-check: console/node_modules/.package-lock.json ## whether fastim/console is what console/ makes
	@rm -rf build/console
	@$(call quietly,build/console.log,cd console && npm run types && npx vite build --outDir ../build/console)
	@diff -r build/console fastim/console >&2 || $(call fail,fastim/console is not what console/ makes: run make console)

console-e2e: build $(VENV)/.test console-deps ## the console and the page to try it in a real browser; needs node, npm and chromium
	$(BIN)/pytest tests/console --timeout=300 $(PYTEST_ARGS)

console-deps: tests/console/node_modules/.package-lock.json

crash: build $(VENV)/.test ## kill -9 at FASTIM_CRASH_POINTS (50) points under load; nothing acked may be lost
	FASTIM_CRASH_POINTS=$(FASTIM_CRASH_POINTS) $(BIN)/pytest tests/crash --timeout=1500 $(PYTEST_ARGS)

bench: build $(VENV)/.tools ## time the native modules and the codec
	$(BIN)/pytest bench/micro $(PYTEST_ARGS)

# Apart from the first, each runs a server on core 0 and its load on core 1.
bench-spine: build ## durable sends, memory of idle sessions, inbound sends, lists of words; 4 minutes on a quiet machine
	$(BIN)/python bench/durable.py
	$(BIN)/python -m bench.durable_tcp
	$(BIN)/python -m bench.idle_memory
	$(BIN)/python -m bench.inbound
	$(BIN)/python -m bench.words_reload

bench-rooms: build ## chat rooms: sends beside C, the whole command, slow readers, storms; 20 minutes on a quiet machine; Linux, cc
	$(BIN)/python -m bench.fanout
	$(BIN)/python -m bench.room
	$(BIN)/python -m bench.room --own
	$(BIN)/python -m bench.slow_readers
	$(BIN)/python -m bench.storms
	$(BIN)/python -m bench.idle_memory --sessions 15000 --rounds 3

bench-peers: build ## chat rooms beside nats, redis, mosquitto, ws, picows and C, for docs/benchmarks.md; half an hour, quiet machine
	$(BIN)/python -m bench.peers $(ARGS)

bench-peers-deps: build ## unpack those into build/peers; Debian, npm
	$(BIN)/python -m bench.peers.install

annotate: build ## write Cython's annotated pages to build/cython/annotate
	@$(call quietly,build/annotate.log,FASTIM_BUILD=annotate $(BIN)/python setup.py -q build_ext --build-lib build/annotate)
	@find build/cython/annotate -name '*.html'

proto: build/proto/.installed ## generate fastim/wire/messages2_pb2.py and .pyi from messages2.proto
	cd fastim/wire && ../../build/proto/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. messages2.proto

changelog: build $(VENV)/.tools ## fold changes/ into CHANGELOG.md under the version in pyproject.toml
	$(BIN)/towncrier build --yes

wheels: $(VENV)/pyvenv.cfg ## build and test wheels for this platform; needs Docker on Linux
	@$(call quietly,$(VENV)/wheels.log,$(PIP) 'pip>=25.1' && $(PIP) --group wheels)
	$(BIN)/cibuildwheel --output-dir dist

clean: ## remove what was built and cached; .venv and data stay
	rm -rf build dist fastim.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find fastim -name '*.so' -delete
	find fastim tests bench tools -name __pycache__ -prune -exec rm -rf {} +

# --- Set-up. The stamps are older than what they depend on, or there is nothing to do. -------------------------------

$(VENV)/pyvenv.cfg:
	@command -v '$(PYTHON)' >/dev/null || $(call fail,there is no $(PYTHON); install Python 3.11 or newer$(comma) or name one: make PYTHON=python3.12 ...)
	@'$(PYTHON)' tools/preflight.py
	@echo 'Making $(VENV)' >&2
	@'$(PYTHON)' -m venv $(VENV)

$(VENV)/.installed: pyproject.toml setup.py | $(VENV)/pyvenv.cfg
	@$(BIN)/python tools/preflight.py
	@echo 'Installing fastim and what it needs into $(VENV)' >&2
	@$(call quietly,$(VENV)/install.log,$(PIP) 'pip>=25.1' && $(PIP) --group build && $(PIP) --no-build-isolation --editable '.[push]')
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.installed
	@echo 'Installing what the tests need into $(VENV)' >&2
	@$(call quietly,$(VENV)/test.log,$(PIP) --group test)
	@touch $@

# After .test, so that two pips never work in one environment.
$(VENV)/.tools: pyproject.toml $(VENV)/.test
	@echo 'Installing the development tools into $(VENV)' >&2
	@$(call quietly,$(VENV)/tools.log,$(PIP) --group dev)
	@touch $@

# After .tools, for the same reason.
$(VENV)/.conformance: pyproject.toml $(VENV)/.tools
	@echo 'Installing the conformance cases into $(VENV)' >&2
	@$(call quietly,$(VENV)/conformance.log,$(PIP) --group conformance)
	@touch $@

build/.native: $(NATIVE) setup.py $(VENV)/.installed build/.$(FASTIM_BUILD)
	@$(BIN)/python tools/preflight.py
	@echo 'Compiling the native modules' >&2
	@$(call quietly,build/native.log,FASTIM_BUILD=$(FASTIM_BUILD) $(BIN)/python setup.py -q build_ext --inplace)
	@touch $@

# Says which build is in place; there is one of them, so another build compiles anew.
build/.release build/.portable:
	@mkdir -p build
	@rm -f build/.release build/.portable
	@touch $@

build/proto/.installed: pyproject.toml $(VENV)/.installed
	@$(call quietly,build/proto.log,$(BIN)/python -m venv build/proto && build/proto/bin/python -m pip --disable-pip-version-check install --quiet 'pip>=25.1' && build/proto/bin/python -m pip install --quiet --group proto)
	@touch $@

tests/sdk/node_modules/.package-lock.json: tests/sdk/package.json tests/sdk/package-lock.json
	@command -v npm >/dev/null || $(call fail,the SDK tests need node and npm; on Debian and Ubuntu: apt-get install nodejs npm)
	@echo 'Installing the official SDKs into tests/sdk/node_modules' >&2
	@mkdir -p build
	@$(call quietly,build/npm.log,(cd tests/sdk && npm ci --no-audit --no-fund))
	@touch $@

console/node_modules/.package-lock.json: console/package.json console/package-lock.json
	@command -v npm >/dev/null || $(call fail,the console is built with node and npm; on Debian and Ubuntu: apt-get install nodejs npm)
	@echo 'Installing what the console is built with into console/node_modules' >&2
	@mkdir -p build
	@$(call quietly,build/npm-console.log,(cd console && npm ci --no-audit --no-fund))
	@touch $@

tests/console/node_modules/.package-lock.json: tests/console/package.json tests/console/package-lock.json
	@command -v npm >/dev/null || $(call fail,these tests need node and npm; on Debian and Ubuntu: apt-get install nodejs npm)
	@command -v chromium >/dev/null || $(call fail,these tests need chromium; on Debian: apt-get install chromium)
	@echo 'Installing what drives the browser into tests/console/node_modules' >&2
	@mkdir -p build
	@$(call quietly,build/npm-browser.log,(cd tests/console && npm ci --no-audit --no-fund))
	@touch $@

comma := ,
fail = { echo 'fastim: $(1)' >&2; exit 1; }
# $(call quietly,LOG,COMMAND): what COMMAND says goes to LOG, whose end is shown if it fails.
quietly = { $(2); } >$(1) 2>&1 || { tail -n 40 $(1) >&2; $(call fail,this failed; the whole of it is in $(1)); }
