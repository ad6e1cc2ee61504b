# photofinish. `make` lists the targets. Only run-local works with nothing but Python and make;
# the other targets keep what they need in .venv, made from the pinned lists.

PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
RUN := $(VENV)/bin/python
PYTEST := $(if $(DEV),PYTHONDEVMODE=1 PYTHONWARNINGS=error) $(RUN) -m pytest --durations=10 --durations-min=1
TOOLS := $(VENV)/.installed
BENCH_TOOLS := $(VENV)/.bench-installed
DIST_TOOLS := $(VENV)/.dist-installed
COVERAGE_TOOLS := $(VENV)/.coverage-installed
# Tests of what is handed on, measured and shown in documents: about half of those with processes.
SHOWN := $(patsubst %,tests/processes/test_%.py,bench demo dist exercise readme wheel)
# program:package
DNS_PARTS := dig:bind9-dnsutils kdig:knot-dnsutils drill:ldnsutils dnsperf:dnsperf ip:iproute2 musl-gcc:musl-tools \
	knotd:knot unbound:unbound dnsmasq:dnsmasq-base nft:nftables dnsdist:dnsdist stubby:stubby kresd:knot-resolver openssl:openssl
PARTS := chromium:chromium haproxy:haproxy promtool:prometheus systemd-analyze:systemd man:man-db $(DNS_PARTS)

# Where benches keep their results: those that write a page always, others if JSON=FILE says so.
KEEP := --json $(or $(JSON),bench/results.json)
KEEP_IF_ASKED := $(if $(JSON),--json $(JSON))

.DEFAULT_GOAL := help
.PHONY: help run-local dist test test-fast test-nodes test-others test-process test-programs test-shown test-tools test-dns fuzz fuzz-dns fuzz-grammar sim soak mutants coverage lint format check ci \
	bench bench-quick bench-tail bench-workers bench-watching bench-dns bench-resolvers bench-hostile bench-first-good bench-odd bench-tls bench-cpu bench-turn \
	parts clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { \
		names[++count] = $$1; texts[count] = $$2; if (length($$1) > width) width = length($$1) \
	} END { for (at = 1; at <= count; at++) printf "%-" width "s  %s\n", names[at], texts[at] }' $(MAKEFILE_LIST)

run-local: ## run two TSs, LS and the client once, and show the race (5 s; WIRE=1: all that is sent)
	@$(PYTHON) -m nodes demo $(if $(WIRE),--wire)

dist: $(DIST_TOOLS) ## make photofinish.pyz (all programs in one file), a wheel, a man page and a completion (dist/)
	@$(RUN) .ci/dist.py --wheel

test: $(TOOLS) $(DIST_TOOLS) ## run all tests, several kinds side by side (2.5 min; DEV=1: any warning is an error)
	@$(MAKE) --no-print-directory -j 3 test-fast test-process test-tools

test-fast: $(TOOLS) ## run the tests that start no process, in two halves side by side (1 min)
	@$(MAKE) --no-print-directory -j 2 test-nodes test-others

test-nodes: $(TOOLS)
	$(PYTEST) -m "not process" tests/nodes

test-others: $(TOOLS)
	$(PYTEST) -m "not process" --ignore tests/nodes

test-process: $(TOOLS) $(DIST_TOOLS) ## run the tests that start our programs, in two halves side by side (2 min)
	@$(MAKE) --no-print-directory -j 2 test-programs test-shown

test-programs: $(TOOLS)
	$(PYTEST) -m process --ignore tests/tools $(SHOWN:%=--ignore %)

test-shown: $(TOOLS) $(DIST_TOOLS)
	$(PYTEST) -m process $(SHOWN)

test-tools: $(TOOLS) ## run the tests that start programs of others: browser, proxy, resolvers, firewall (1.5 min)
	$(PYTEST) -m process tests/tools

test-dns: $(TOOLS) ## run the tests with dig, kdig, drill, dnsperf, two libcs, Knot, unbound, dnsmasq, dnsdist, stubby, nft
	@for part in $(DNS_PARTS); do \
		command -v "$${part%%:*}" >/dev/null || \
		echo "no $${part%%:*}: its tests are skipped (Debian, as root: apt-get install $${part##*:})"; \
	done
	$(RUN) -m pytest -m dns -rs

fuzz: $(TOOLS) ## run the property tests for long, with random inputs
	HYPOTHESIS_PROFILE=fuzz $(RUN) -m pytest -m "not process"

fuzz-dns: ## send PACKETS mutated DNS packets through LS, twice (1,000,000; 1 min)
	@$(PYTHON) -m tests.fuzz_dns --packets $(or $(PACKETS),1000000)
	@$(PYTHON) -m tests.fuzz_dns --packets $(or $(PACKETS),1000000) --resolvers

fuzz-grammar: ## send LINES lines of proto.md's grammar, and lines nearly so, through the parsers (100,000; 20 s)
	@$(PYTHON) -m tests.fuzz_grammar --lines $(or $(LINES),100000)

sim: ## tell SEEDS stories more of lines, DNS, resolvers, the cache, tiers and TLS in the simulator (1,000)
	@$(PYTHON) -m tests.sim.simulate --seeds $(or $(SEEDS),1000)

soak: ## run the long experiments with real processes, and print their figures (3 min)
	@$(PYTHON) -m tests.soak

mutants: $(TOOLS) ## plant bugs one by one and see which test finds each (PART=3/10: a part; 20 min)
	$(RUN) -m tests.mutants $(if $(PART),--part $(PART))

coverage: $(COVERAGE_TOOLS) ## print the branch coverage of core/ and nodes/, with the programs that tests start
	rm -f .coverage .coverage.*
	-$(VENV)/bin/coverage run -m pytest
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

lint: $(TOOLS) ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(TOOLS) ## format and auto-fix
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

check: lint test ## lint and test

ci: ## what continuous integration runs: check, then the whole system once, and what is handed on
	$(MAKE) check
	$(MAKE) run-local
	$(MAKE) dist

bench: $(BENCH_TOOLS) ## measure throughput and latency, compared with alternatives; write bench/RESULTS.md (15 min)
	$(RUN) bench/throughput.py --sizes --results bench/RESULTS.md $(KEEP)

bench-quick: $(BENCH_TOOLS) ## measure some throughput, some DNS, and each program's start-up (1.5 min; JSON=FILE: keep it)
	$(RUN) bench/quick.py $(KEEP_IF_ASKED)

bench-tail: $(BENCH_TOOLS) ## measure the gain of asking two servers; write bench/TAIL.md (7 min)
	$(RUN) bench/tail.py --results bench/TAIL.md $(KEEP)

bench-workers: $(TOOLS) ## measure cost and gain of several processes; write bench/WORKERS.md (1 min)
	$(RUN) bench/workers.py --results bench/WORKERS.md $(KEEP)

bench-dns: $(BENCH_TOOLS) ## measure LS as a DNS server, compared with four others; write bench/DNS.md (6 min)
	$(RUN) bench/dns.py --results bench/DNS.md $(KEEP)

bench-resolvers: $(BENCH_TOOLS) ## measure LS before resolvers, compared with four others; write bench/RESOLVERS.md (15 min)
	$(RUN) bench/resolvers.py --results bench/RESOLVERS.md $(KEEP)

bench-first-good: $(TOOLS) ## measure LS before real and odd resolvers, with BEFORE=DIR; write bench/FIRST_GOOD.md (30 min)
	$(RUN) bench/first_good.py $(if $(BEFORE),--before $(BEFORE)) --results bench/FIRST_GOOD.md $(KEEP)

bench-odd: $(TOOLS) ## measure what clients hear of LS in front of odd resolvers; write bench/ODD.md (1.5 min)
	$(RUN) bench/oddities.py --results bench/ODD.md $(KEEP)

bench-tls: $(TOOLS) ## measure the CPU that TLS costs LS, to resolvers and clients; write bench/TLS.md (4 min)
	$(RUN) bench/tls.py --results bench/TLS.md $(KEEP)

bench-turn: ## count the calls of a turn, without a clock; write them into bench/RESULTS.md (5 s)
	@$(PYTHON) bench/turn.py --results bench/RESULTS.md

bench-cpu: $(TOOLS) ## measure the CPU of a lookup, compared with BEFORE=DIR, in alternating rounds (5 min)
	$(RUN) bench/cpu.py --before $(or $(BEFORE),$(error BEFORE=DIR is another checkout)) $(KEEP_IF_ASKED)

bench-hostile: $(TOOLS) ## measure the cost of clients that ask much and never read (1 min)
	$(RUN) bench/hostile.py $(KEEP_IF_ASKED)

bench-watching: $(TOOLS) ## measure what sampling and scraping cost (2 min)
	$(RUN) bench/watching.py --rounds 9 --workloads 1x100 $(KEEP_IF_ASKED)

parts: ## install third-party programs that some tests use, where missing (Debian, as root)
	@missing=""; \
	for part in $(PARTS); do \
		command -v "$${part%%:*}" >/dev/null || missing="$$missing $${part##*:}"; \
	done; \
	test -z "$$missing" || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; } || \
	echo "missing:$$missing; their tests are skipped (Debian, as root: apt-get install$$missing)"

clean: ## remove everything that was made
	rm -rf .venv .venv-* dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(RUN):
	@$(PYTHON) -m nodes --version >/dev/null # or a line about a Python that is too old
	$(PYTHON) -m venv $(VENV)

$(TOOLS): tests/requirements.txt tests/lint-requirements.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt -r tests/lint-requirements.txt
	@touch $@

$(DIST_TOOLS): .ci/dist-requirements.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r .ci/dist-requirements.txt
	@touch $@

$(COVERAGE_TOOLS): $(TOOLS) tests/coverage-requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r tests/coverage-requirements.txt
	@touch $@

$(BENCH_TOOLS): $(TOOLS) bench/requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@touch $@
