"""Tiny models, processors and spectra: what most tests start from."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spec2mol import (
    Spec2MolConfig,
    Spec2MolFeatureExtractor,
    Spec2MolForConditionalGeneration,
    Spec2MolModel,
    Spec2MolProcessor,
)
from spec2mol.data.examples import load_examples
from spec2mol.data.tokenizer import build_tokenizer
from spec2mol.simulation.simulate import load_fragmentation
from spec2mol.training.record import record_stage

MOLECULES = ("CCO", "CC(=O)[O-]", "NC1=CC=CC=C1", "CCN(CC)CCS")  # all of different length
NUM_QUERIES = 4
KNOWN = {
    "adduct": "[M+H]+",
    "ion_mode": "positive",
    "collision_energy": 20.0,
    "instrument_type": "QTOF",
    "formula": "C2H6O",
}
ENCODER = {
    "model_type": "dreams",
    "peak_hidden_size": 8,
    "fourier_hidden_size": 24,
    "fourier_intermediate_size": 16,
    "fourier_num_layers": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "min_wavelength": 0.1,
    "num_peaks": 8,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
UNIMOL = {
    "model_type": "unimol",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_gaussians": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
GIN = {"model_type": "gin", "hidden_size": 24, "num_hidden_layers": 5}
PROJECTOR = {
    "model_type": "blip_2_qformer",
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
LANGUAGE_MODEL = {
    "model_type": "gpt_neo",
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
}


def spectrum(seed: int = 0, num_peaks: int = 5, precursor_mz: float = 150.0, **known) -> dict:
    """Random peaks below the precursor; what else is known as keywords."""
    rng = np.random.default_rng(seed)
    mzs, intensities = np.sort(rng.uniform(50, precursor_mz, num_peaks)), rng.uniform(0.1, 1, num_peaks)
    return {"mzs": mzs, "intensities": intensities, "precursor_mz": precursor_mz, **known}


def spectra() -> list[dict]:
    """As many as `MOLECULES`; they differ in peaks, number of peaks and in what is known."""
    some_known = {"adduct": "[M-H]-", "ion_mode": "negative", "collision_energy": 35.0}
    return [
        spectrum(0, num_peaks=5, precursor_mz=120.0, **KNOWN),
        spectrum(1, num_peaks=8, precursor_mz=250.0),
        spectrum(2, num_peaks=1, precursor_mz=90.0, **some_known),
        spectrum(3, num_peaks=3, precursor_mz=310.0, formula="C6H15NS"),
    ]


@lru_cache
def tokenizer(dialect: str = "2.x"):
    return build_tokenizer(MOLECULES, dialect=dialect)


def processor(dialect: str = "2.x", molecules: str | None = None, **fields) -> Spec2MolProcessor:
    """Reads spectra, or molecules as that featurizer does."""
    feature_extractor = Spec2MolFeatureExtractor(num_peaks=8, molecules=molecules)
    return Spec2MolProcessor(feature_extractor, tokenizer(dialect), NUM_QUERIES, **fields)


def config(encoder=(), projector=(), language_model=(), **fields) -> Spec2MolConfig:
    """Tiny; the pairs of each part replace its fields, None removes the part."""
    parts = {
        "encoder_config": None if encoder is None else ENCODER | dict(encoder),
        "projector_config": None if projector is None else PROJECTOR | dict(projector),
        "text_config": LANGUAGE_MODEL | {"vocab_size": len(tokenizer())} | dict(language_model),
    }
    return Spec2MolConfig(**parts | {"num_query_tokens": NUM_QUERIES, "contrast_size": 16} | fields)


def conformer_config(**fields) -> Spec2MolConfig:
    """3D-MoLM's: Uni-Mol and a Q-Former."""
    parts = {"encoder_config": UNIMOL, "projector_config": PROJECTOR, "condition_config": None}
    parts["text_config"] = LANGUAGE_MODEL | {"vocab_size": len(tokenizer())}
    return Spec2MolConfig(**parts | {"num_query_tokens": NUM_QUERIES, "contrast_size": 16} | fields)


def graph_config(projector=(), **fields) -> Spec2MolConfig:
    """LLaMo's: GIN and the projector of all its levels."""
    projector = {"model_type": "spec2mol_multilevel"} | dict(projector)
    parts = {"encoder_config": GIN, "projector_config": projector, "condition_config": None}
    parts["text_config"] = LANGUAGE_MODEL | {"vocab_size": len(tokenizer())}
    return Spec2MolConfig(**parts | {"num_query_tokens": 28} | fields)


def text_only_config(**fields) -> Spec2MolConfig:
    return config(encoder=None, projector=None, condition_config=None, **fields)


def model(cls=Spec2MolForConditionalGeneration, seed: int = 25, **parts):
    """`randomized`. With this seed, answers to `spectra()` differ, also in length. Other arguments as for `config`."""
    torch.manual_seed(seed)
    return randomized(cls(config(**parts)))


def randomized(built):
    """In eval mode, with random weights so large that every input matters."""
    built.eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
    return built


def with_fragmentation(built):
    """The same model with the package's fragmentation model."""
    built.model.fragmentation = load_fragmentation()
    built.config.fragmentation_config = built.model.fragmentation.config
    return built


def labelled_rows() -> list[dict]:
    """`spectra()` with `MOLECULES`, as rows of training data with their licences."""
    columns = {
        "smiles": MOLECULES,
        "identifier": [f"MSBNK-Lab-{i}" for i in range(4)],
        "license": ["CC BY", "CC BY", "CC BY-SA", "CC0"],
        "contributor": ["Eawag", "Eawag", "UFZ", "UFZ"],
    }
    labels = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [spectrum | label for spectrum, label in zip(spectra(), labels, strict=True)]


def record_training(folder, previous=(), **fields):
    """Leaves in `folder` the record of a stage trained on `labelled_rows()`. fields: of its recipe."""
    data = Path(folder, "train.parquet")
    pd.DataFrame(labelled_rows()).to_parquet(data)
    recipe = {
        "stage": "align",
        "model": {"from": "runs/language", "config": {"num_query_tokens": NUM_QUERIES}},
        "data": {"train": str(data)},
        "trainable": ["model.*"],
        "lora": None,
        "arguments": {"max_steps": 60, "per_device_train_batch_size": 4},
    }
    record_stage(folder, previous, recipe | fields, str(data), load_examples(str(data), processor()))
    data.unlink()


def spectrum_tensors(base: Spec2MolModel, inputs) -> dict[str, torch.Tensor]:
    """Those of the processor's tensors that describe a query."""
    return {name: inputs[name] for name in base.input_names if name in inputs}


def train(model, inputs, steps: int, learning_rate: float = 5e-3) -> list[float]:
    """Overfits one batch; the losses of all steps."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def trained(steps: int) -> tuple[Spec2MolForConditionalGeneration, Spec2MolProcessor]:
    """A model that learned `MOLECULES` from `spectra()`, by heart if `steps` suffice, and its processor."""
    learner, tool = model(), processor()
    train(learner, tool(spectra=spectra(), molecules=MOLECULES, return_tensors="pt"), steps)
    return learner, tool
