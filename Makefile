# Each command sets up .venv first, where the pinned packages are missing or have changed.
# PYTHON names another interpreter (3.11 or newer), CORES bounds the jobs that run at once. summary,
# report, estimate and dag take another study: CONFIG is its config file, DIR the folder of results/.
PYTHON ?= python3
CORES ?= all
READY := .venv/.ready
READY_TESTS := .venv/.ready-tests
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

quoted = '$(subst ','\'',$(value $(1)))'
STUDY = $(if $(value CONFIG),--configfile=$(call quoted,CONFIG)) $(if $(value DIR),--directory=$(call quoted,DIR))
RESULTS = $(if $(value DIR),$(call quoted,DIR)/)results

export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: summary report estimate test test-slow kill-test slurm-test false-positives bench bench-planning bench-data gpu-check loading-check lint audit docs dag clean lock

summary: $(READY)  ## run the study and write results/summary.md
	snakemake --cores $(CORES) $(STUDY) results/summary.md

report: $(READY)  ## run the study and write results/report.html, all of it in one file
	snakemake --cores $(CORES) $(STUDY)
	snakemake --quiet all --report results/.report.html $(STUDY)
	mv $(RESULTS)/.report.html $(RESULTS)/report.html

estimate: $(READY)  ## write how long the study takes
	snakemake --cores $(CORES) $(STUDY) estimate

test: lint  ## lint and fast tests
	pytest --numprocesses $$(($$($(PYTHON) -c 'import os; print(os.cpu_count())') + 1)) --dist loadfile --no-loadscope-reorder  # some tests wait

test-slow: $(READY_TESTS)  ## tests that train for minutes
	pytest -m slow --numprocesses 2 --dist loadfile

kill-test: $(READY_TESTS)  ## kill processes of a study at random until it is complete, and compare its results
	PYTHONPATH=scripts:tests python tests/kills.py $(if $(SEED),--seed $(SEED))

slurm-test: $(READY_TESTS)  ## a study on a Slurm cluster of one node, set up for it: as root, on Debian or Ubuntu
	PYTHONPATH=tests python tests/slurm

false-positives: $(READY_TESTS)  ## how often a page claims what is not so, on made-up studies
	PYTHONPATH=scripts python benchmarks/false_positives.py

bench: $(READY_TESTS)  ## how fast training is, beside the Trainer of transformers and a published loop
	PYTHONPATH=scripts python benchmarks/speed.py

bench-planning: $(READY_TESTS)  ## what plans and tables of large studies cost, on made-up studies
	PYTHONPATH=scripts python benchmarks/planning.py

bench-data: $(READY_TESTS)  ## time and memory of downloading, splitting and tokenizing a million reviews
	PYTHONPATH=scripts python benchmarks/large_data.py --out results/large-data

gpu-check: $(READY_TESTS)  ## whether training on this graphics card can be believed; DEV=cpu tries the check itself
	PYTHONPATH=scripts python benchmarks/gpu_check.py $(if $(DEV),--device $(DEV))

loading-check: $(READY_TESTS)  ## whether every library labels as the test of a run did; RUNS names others than one of each pooling
	PYTHONPATH=scripts python benchmarks/loading_check.py $(RUNS)

lint: $(READY_TESTS)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

audit:  ## look for known vulnerabilities of the pinned packages; needs the package index alone
	rm -rf .venv/audit && $(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@.venv/audit/bin/pip-audit --requirement envs/requirements.txt --requirement envs/export.txt --requirement envs/tests.txt \
		--no-deps --disable-pip --strict --progress-spinner off 2> .venv/audit/messages || { grep "^Found" .venv/audit/messages >&2 || \
		echo "error: the package index does not answer what vulnerabilities it knows; try again, or elsewhere: $$(tail -n 1 .venv/audit/messages)" >&2; exit 1; }
	@tail -n 1 .venv/audit/messages

docs: $(READY)  ## write the table of tables in docs/results.md anew, from scripts/lib/study/catalog.py
	PYTHONPATH=scripts python -c 'from lib.study.catalog import document; document("docs/results.md")'

dag: $(READY)  ## draw the jobs and the rules
	mkdir -p $(RESULTS)
	snakemake --quiet all --rulegraph mermaid-js $(STUDY) summary > $(RESULTS)/rulegraph.mmd
	@command -v dot > /dev/null || { echo "error: drawing needs Graphviz; install it with: apt-get install graphviz (or brew install graphviz)" >&2; exit 1; }
	snakemake --quiet all --rulegraph dot $(STUDY) all | tred | dot -Granksep=0.2 -Nheight=0.35 -Tsvg > $(RESULTS)/rulegraph.svg
	snakemake --quiet all --dag dot $(STUDY) summary | dot -Tsvg > $(RESULTS)/dag.svg

clean:  ## remove all results
	find results/ -mindepth 1 ! -name .gitkeep -delete

lock:  ## pin what envs/requirements.in asks for, what envs/export.in adds, and envs/tests.in
	rm -rf .venv/lock && $(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --requirement envs/requirements.in
	.venv/lock/bin/pip freeze | sed 's/+.*//' > envs/requirements.txt
	.venv/lock/bin/pip install --quiet --requirement envs/export.in --constraint envs/requirements.txt
	.venv/lock/bin/pip freeze | sed 's/+.*//' | grep -vxFf envs/requirements.txt > envs/export.txt
	.venv/lock/bin/pip install --quiet --requirement envs/tests.in --constraint envs/requirements.txt --constraint envs/export.txt
	.venv/lock/bin/pip freeze | sed 's/+.*//' | grep -vxFf envs/requirements.txt -f envs/export.txt > envs/tests.txt
	rm -rf .venv/lock

$(READY): envs/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; name it with PYTHON=")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements.txt
	touch $@

$(READY_TESTS): envs/export.txt envs/tests.txt $(READY)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/export.txt --requirement envs/tests.txt
	touch $@
