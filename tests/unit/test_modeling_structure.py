import pytest
import torch
from torch.testing import assert_close

from spec2mol import Spec2MolForPreTraining
from spec2mol.data.collator import Spec2MolCollator
from spec2mol.modeling_structure import FingerprintTokens, fingerprint_loss
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


@pytest.fixture(scope="module")
def telling_model():
    """With fingerprint tokens."""
    torch.manual_seed(0)
    return builders.model(structure_config={"fingerprint_size": SIZE, "hidden_size": 32, "num_tokens": 3}).eval()


@pytest.fixture
def query(inputs, telling_model):
    return {name: inputs[name] for name in telling_model.model.input_names if name in inputs}


class TestFingerprintTokens:
    @pytest.fixture
    def model(self, telling_model):
        return telling_model

    @pytest.fixture
    def inputs(self, model):
        processor = builders.processor()
        processor.num_query_tokens = model.config.num_soft_tokens
        return processor(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")

    def test_stand_behind_the_soft_tokens_of_the_projector(self, model, query):
        output = model.model(**query)
        assert output.soft_tokens.shape[1] == builders.NUM_QUERIES + 3 == model.config.num_soft_tokens
        assert_close(output.soft_tokens[:, :-3], model.model.projector(model.model.encode(**query)))
        assert_close(output.soft_tokens[:, -3:], model.model.fingerprint_tokens(output.fingerprint_logits))

    def test_tell_the_share_of_the_truth_that_they_are_told(self, model, query, labels):
        """All of it leaves nothing of the peaks in them; none of it is the encoder's expectation."""
        logits, truth = model.model.encode(**query).fingerprint_logits, labels["fingerprint"]
        tokens = model.model.fingerprint_tokens
        assert_close(tokens(logits, truth, torch.zeros(4)), tokens(logits))
        assert_close(tokens(logits.flip(0), truth, torch.ones(4)), tokens(logits, truth, torch.ones(4)))
        half = tokens.embeddings((logits.sigmoid() + truth) / 2).unflatten(1, (3, -1))
        assert_close(tokens(logits, truth, torch.full((4,), 0.5)), tokens.norm(half))

    def test_the_truth_changes_nothing_unless_it_is_told(self, model, query, labels):
        with torch.no_grad():
            alone = model.model(**query).soft_tokens
            assert_close(model.model(**query, fingerprint=labels["fingerprint"]).soft_tokens, alone)
            told = model.model(**query, fingerprint=labels["fingerprint"], told_share=torch.ones(4)).soft_tokens
        assert (told - alone).abs().max() > 1e-3

    def test_the_language_loss_reaches_the_expectation(self, model, inputs, labels):
        model.zero_grad()
        output = model(**inputs, **labels)
        output.language_loss.backward()
        assert model.model.fingerprint_tokens.classifier.weight.grad.abs().sum() > 0
        model.zero_grad()

    def test_the_structure_loss_counts_the_expectation_too(self, model, inputs, query, labels):
        with torch.no_grad():
            output, encoded = model(**inputs, **labels), model.model(**query)
        head_loss = model.model.structure_head.loss(encoded.soft_tokens, **labels)
        expected = fingerprint_loss(encoded.fingerprint_logits, labels["fingerprint"])
        assert_close(output.structure_loss, head_loss + expected)

    def test_start_from_the_frequencies_of_the_bits(self, model, query):
        tokens = FingerprintTokens(model.config)
        assert tokens.is_untrained == (not tokens.classifier.bias.any())
        tokens.classifier.weight.data.zero_()
        tokens.start_from(torch.linspace(0.1, 0.9, SIZE))
        logits = tokens.classifier(model.model.encoder(query["peaks"], query["peaks_mask"]).last_hidden_state[:, 0])
        assert_close(logits.sigmoid(), torch.linspace(0.1, 0.9, SIZE).expand(4, -1))
