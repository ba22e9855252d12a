"""Two processes with half a batch each learn what one process learns of the whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spec2mol import (
    DreamsConfig,
    DreamsForPreTraining,
    DreamsForSpectralEmbedding,
    Spec2MolFeatureExtractor,
    Spec2MolForPreTraining,
)
from spec2mol.data.masking import MaskedPeaksCollator
from spec2mol.distributed_spec2mol import (
    gather_batch,
    gather_padded_batch,
    mean_over_processes,
    num_processes,
    process_index,
)
from tests import builders

ROOT = Path(__file__).parents[2]
PARTS = {
    "stage 1": ("contrast_loss", "matching_loss", "generation_loss", "structure_loss"),
    "embedding": ("loss",),
    "masked peaks": ("loss",),
}


def stage_1_model():
    return builders.model(Spec2MolForPreTraining, structure_config={"fingerprint_size": 64, "hidden_size": 16}).train()


def pretraining_rows(indices):
    """With two molecules each has one negative, so nothing is left to chance: in the batch of one that each process
    has, there is none at all."""
    tool = builders.processor()
    batch = dict(tool.feature_extractor([builders.spectra()[i] for i in indices], return_tensors="pt"))
    batch |= tool(molecules=[builders.MOLECULES[i] for i in indices], return_tensors="pt")
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(4, 64, generator=generator) < 0.2
    return batch | {"fingerprint": labels[indices].float(), "element_counts": 10 * labels[indices, :13].float()}


def embedding_model():
    torch.manual_seed(0)
    return DreamsForSpectralEmbedding(DreamsConfig(**builders.ENCODER))


def embedding_rows(indices):
    """Two spectra of the first molecule in each half, and one that has no partner."""
    peaks = builders.processor().feature_extractor([builders.spectra()[i] for i in indices], return_tensors="pt")
    labels = torch.tensor([5, 3, 8, 5])[indices]
    return {"peaks": peaks["peaks"], "peaks_mask": peaks["peaks_mask"], "labels": labels}


def masked_model():
    torch.manual_seed(0)
    return DreamsForPreTraining(DreamsConfig(**builders.ENCODER, mz_bin_size=5.0))


def masked_rows(indices):
    """Of five, eight, one and three peaks: the processes mask different numbers of them, and only the second one knows
    an order of retention."""
    inputs = Spec2MolFeatureExtractor(num_peaks=8, conditions=False)
    # One at a time: which peaks are masked depends on the batch.
    batches = [MaskedPeaksCollator(inputs, None)([builders.spectra()[i]]) for i in indices]
    length = max(batch["peaks"].shape[1] for batch in batches)
    padded = {
        name: torch.cat([pad(batch[name], length, value) for batch in batches])
        for name, value in (("peaks", 0.0), ("peaks_mask", 0), ("mz_labels", -100.0))
    }
    order = [-100, 1][indices[0] // 2 : indices[-1] // 2 + 1]
    return padded | {"retention_order_labels": torch.tensor(order)}


def pad(tensor, length, value):
    missing = length - tensor.shape[1]
    return torch.nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, missing), value=value)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "results.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*command, "-m", "tests.two_processes", path], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
    )
    return torch.load(path)


@pytest.mark.parametrize("name", PARTS)
def test_two_processes_are_one_with_the_double_batch(name, two_processes):
    model, inputs = {
        "stage 1": (stage_1_model, lambda: pretraining_rows([0, 1])),
        "embedding": (embedding_model, lambda: embedding_rows([0, 1, 2, 3])),
        "masked peaks": (masked_model, lambda: masked_rows([0, 1, 2, 3])),
    }[name]
    model, inputs = model(), inputs()
    output = model(**inputs)
    output.loss.backward()
    losses, gradients = two_processes[name]
    torch.testing.assert_close(losses, torch.stack([output[part] for part in PARTS[name]]).detach())
    expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(
            gradients[key], gradient, atol=1e-5, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
        )


def test_without_a_process_group_nothing_happens():
    tensor = torch.randn(2, 3, requires_grad=True)
    assert gather_batch(tensor) is tensor and gather_padded_batch(tensor) is tensor
    assert (num_processes(), process_index()) == (1, 0)
    assert mean_over_processes(torch.tensor(7)) == 7
