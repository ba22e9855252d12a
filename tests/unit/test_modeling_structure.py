import pytest
import torch
from torch.testing import assert_close

from spec2mol import Spec2MolForPreTraining
from spec2mol.data.collator import Spec2MolCollator
from tests import builders

SIZE = 64


@pytest.fixture(scope="module")
def labels():
    generator = torch.Generator().manual_seed(0)
    return {
        "fingerprint": (torch.rand(4, SIZE, generator=generator) < 0.2).byte(),
        "element_counts": torch.randint(0, 9, (4, 13), generator=generator),
    }


@pytest.fixture(scope="module")
def inputs():
    return builders.processor()(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")


@pytest.fixture(scope="module")
def model():
    return builders.model(structure_config={"fingerprint_size": SIZE, "hidden_size": 32})


def test_loss_is_nats_per_set_bit_and_squared_error_of_roots(model, labels):
    head, soft_tokens = model.model.structure_head, torch.randn(4, builders.NUM_QUERIES, 32)
    bits, roots = head(soft_tokens)
    probabilities = bits.sigmoid().double()
    of_truth = torch.where(labels["fingerprint"] == 1, probabilities, 1 - probabilities)
    expected = -of_truth.log().sum() / labels["fingerprint"].sum()
    expected += (roots.double() - labels["element_counts"].sqrt()).square().mean()
    assert_close(head.loss(soft_tokens, **labels).double(), expected, rtol=1e-5, atol=0)


def test_similarity_is_the_log_likelihood_of_each_fingerprint(model, labels):
    head, soft_tokens = model.model.structure_head, torch.randn(3, builders.NUM_QUERIES, 32)
    probabilities = head(soft_tokens)[0].sigmoid().double()
    expected = torch.tensor(
        [
            [torch.where(bits == 1, row, 1 - row).log().sum().item() for bits in labels["fingerprint"]]
            for row in probabilities
        ],
        dtype=torch.float64,
    )
    assert_close(head.similarity(soft_tokens, labels["fingerprint"]).double(), expected, rtol=1e-5, atol=1e-5)


def test_generating_model_adds_its_loss(model, inputs, labels):
    alone, both = model(**inputs).loss, model(**inputs, **labels)
    assert_close(both.language_loss, alone)
    assert_close(both.loss, both.language_loss + both.structure_loss)


def test_pretraining_adds_its_loss(labels):
    torch.manual_seed(0)
    model = builders.model(Spec2MolForPreTraining, structure_config={"fingerprint_size": SIZE, "hidden_size": 32})
    rows = [
        spectrum | {"target_ids": builders.processor().encode_molecule(smiles), "identity": i}
        for i, (spectrum, smiles) in enumerate(zip(builders.spectra(), builders.MOLECULES, strict=True))
    ]
    output = model(**Spec2MolCollator(builders.processor(), pairs=True)(rows), **labels)
    parts = output.contrast_loss + output.matching_loss + output.generation_loss + output.structure_loss
    assert_close(output.loss, parts)


def test_its_loss_reaches_the_peaks_and_not_the_language_model(model, inputs, labels):
    model.zero_grad()
    model(**inputs, **labels).structure_loss.backward()
    assert model.model.encoder.embeddings.fourier_mlp.layers[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.any() for p in model.language_model.parameters())
    model.zero_grad()


def test_without_labels_nothing_changes(model, inputs):
    assert "structure_loss" not in model(**inputs)
