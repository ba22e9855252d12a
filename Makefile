.PHONY: test lint format checkpoint

test:
	pytest

lint:
	ruff check .
	ruff format --check .

format:
	ruff check --fix .
	ruff format .

# The chain of stages behind checkpoints/spec2mol-small. What is done is not done again, what was stopped goes on.
DATA = ../shared/data
STAGE = python train.py recipes/$(notdir $(@D))_small.yaml --output $(@D) --resume

checkpoint: runs/represent/model.safetensors

runs/tokenizer/tokenizer.json:
	spec2mol build-tokenizer $(DATA)/molecules/train.parquet $(@D)
runs/spectra/simulated.parquet:
	mkdir -p $(@D)
	spec2mol simulate $(DATA)/molecules/train.parquet --conditions $(DATA)/massbank/train.parquet --limit 90000 --output $@
runs/language/model.safetensors: runs/tokenizer/tokenizer.json
	$(STAGE)
runs/simulated/model.safetensors: runs/language/model.safetensors runs/spectra/simulated.parquet
	$(STAGE)
runs/fingerprint/model.safetensors: runs/spectra/simulated.parquet
	$(STAGE)
runs/measured/model.safetensors: runs/simulated/model.safetensors runs/fingerprint/model.safetensors
	$(STAGE)
runs/represent/model.safetensors: runs/measured/model.safetensors
	$(STAGE)
