.PHONY: test lint format checkpoint release figures notebooks

test:
	pytest

lint:
	ruff check .
	ruff format --check .

format:
	ruff check --fix .
	ruff format .

# Runs the notebooks anew and stores what they show.
notebooks:
	python examples/run_notebooks.py

# The chain of stages behind checkpoints/spec2mol-small. What is done is not done again, what was stopped goes on.
DATA = ../shared/data
STAGE = python train.py recipes/$(notdir $(@D))_small.yaml --output $(@D) --resume

checkpoint: runs/continued/ranking_folds.json

runs/tokenizer/tokenizer.json:
	spec2mol build-tokenizer $(DATA)/molecules/train.parquet $(@D)
runs/spectra/simulated.parquet:
	mkdir -p $(@D)
	spec2mol simulate $(DATA)/molecules/train.parquet --conditions $(DATA)/massbank/train.parquet --limit 200000 --output $@
runs/language/model.safetensors: runs/tokenizer/tokenizer.json
	$(STAGE)
runs/simulated/model.safetensors: runs/language/model.safetensors runs/spectra/simulated.parquet
	$(STAGE)
runs/fingerprint/model.safetensors: runs/spectra/simulated.parquet
	$(STAGE)
runs/written/model.safetensors: runs/simulated/model.safetensors
	$(STAGE)
runs/measured/model.safetensors: runs/written/model.safetensors runs/fingerprint/model.safetensors
	$(STAGE)
runs/continued/model.safetensors: runs/measured/model.safetensors
	$(STAGE)
runs/continued/ranking_folds.json: runs/continued/model.safetensors
	spec2mol fit-ranking $(@D) --data $(DATA)/massbank/val.parquet --limit-per-molecule 1
# A text branch, for comparing molecules with spectra; what ships has none (docs/retrieval.md).
runs/represent/model.safetensors: runs/continued/model.safetensors
	$(STAGE)

# Puts WEIGHTS into the place of the shipped model, with today's remote code and a card from its records, once a stranger's
# process has shown that it works. `make release WEIGHTS=checkpoints/spec2mol-small` renews code and card alone.
WEIGHTS = runs/continued
SHIPPED = checkpoints/spec2mol-small

release:
	rm -rf runs/release
	python hub_upload.py $(WEIGHTS) $(SHIPPED) --dry-run --staged runs/release
	rm -rf $(SHIPPED)
	mv runs/release $(SHIPPED)

# The figures of the shipped model, into its card and docs/results.md.
figures:
	spec2mol evaluate --data $(DATA)/massbank/val.parquet --train $(DATA)/massbank/train.parquet --limit-per-molecule 2 \
		--candidates $(DATA)/massbank/candidates_val.json.gz --ablation 100 --output runs/evaluation --docs docs/results.md
	cp runs/evaluation/metrics.json $(SHIPPED)/
	$(MAKE) release WEIGHTS=$(SHIPPED)
