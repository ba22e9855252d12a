import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from spec2mol import Spec2MolForPreTraining, Spec2MolModel
from spec2mol.modeling_spec2mol import EncoderOutput
from tests import builders

BATCH_SIZE, NUM_STATES, LENGTH = 2, 5, 6
QUERIES = slice(0, builders.NUM_QUERIES)
TEXT = slice(builders.NUM_QUERIES, None)


@pytest.fixture
def projector():
    return builders.model(Spec2MolModel).projector


@pytest.fixture
def encoded():
    """Encoder states of two spectra, the second padded at the end."""
    states = torch.randn(BATCH_SIZE, NUM_STATES, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(BATCH_SIZE, NUM_STATES, dtype=torch.long)
    mask[1, 3:] = 0
    return EncoderOutput(last_hidden_state=states.requires_grad_(), attention_mask=mask)


@pytest.fixture
def ids():
    return torch.tensor([[2, 7, 8, 9, 10, 3], [2, 11, 7, 12, 13, 3]])


@pytest.fixture
def mask():
    return torch.ones(BATCH_SIZE, LENGTH, dtype=torch.long)


class Recorder:
    """Keeps what a projector's Q-Former reads, as leaves to differentiate by, and what it returns."""

    def __init__(self, projector):
        projector.text_embeddings.register_forward_hook(self._text)
        projector.query_tokens.register_forward_hook(self._queries)
        projector.qformer.register_forward_hook(self._states)

    def _text(self, module, args, output):
        self.text = output.detach().requires_grad_()  # (batch, text, hidden)
        return self.text

    def _queries(self, module, args, output):
        self.queries = output.detach().requires_grad_()  # (queries, hidden)
        return self.queries

    def _states(self, module, args, output):
        self.states = output.last_hidden_state  # (batch, queries + text, hidden)


def influence(of, on):
    """Largest gradient, at each position of `of` (..., positions, hidden). By the square: the sum over a LayerNorm is
    constant."""
    (gradient,) = torch.autograd.grad(on.pow(2).mul(torch.arange(on.shape[-1])).sum(), of, retain_graph=True)
    return gradient.abs().amax(-1)


def test_contrast_keeps_spectra_and_molecules_apart(projector, encoded, ids, mask):
    recorder = Recorder(projector)
    molecules = projector.molecule_features(ids, mask)
    text = recorder.text
    assert recorder.states.shape[1] == LENGTH  # There were no queries,
    of_spectrum = [projector.query_tokens.weight, encoded.last_hidden_state]
    assert torch.autograd.grad(molecules.sum(), of_spectrum, allow_unused=True, retain_graph=True) == (None, None)
    assert (influence(of=text, on=molecules) > 0).all()

    spectra = projector.spectrum_features(projector.query_states(encoded))
    assert recorder.states.shape[1] == builders.NUM_QUERIES  # and no text.
    of_molecule = [text, projector.text_embeddings.word_embeddings.weight]
    assert torch.autograd.grad(spectra.sum(), of_molecule, allow_unused=True, retain_graph=True) == (None, None)
    assert (influence(of=recorder.queries, on=spectra) > 0).all()


def test_matching_sees_both_ways(projector, encoded, ids, mask):
    recorder = Recorder(projector)
    projector.matching_logits(encoded, ids, mask)
    for position in range(builders.NUM_QUERIES + LENGTH):
        state = recorder.states[:, position]
        assert (influence(of=recorder.text, on=state) > 0).all()
        assert (influence(of=recorder.queries, on=state) > 0).all()


def test_generation_is_causal(projector, encoded, ids, mask):
    recorder = Recorder(projector)
    logits = projector.generation_logits(encoded, ids, mask)
    assert logits.shape == (BATCH_SIZE, LENGTH, len(builders.tokenizer()))
    assert (influence(of=recorder.text, on=recorder.states[:, QUERIES]) == 0).all()
    for position in range(LENGTH):
        by_text = influence(of=recorder.text, on=logits[:, position])
        assert (by_text[:, : position + 1] > 0).all()
        assert (by_text[:, position + 1 :] == 0).all()
        assert (influence(of=recorder.queries, on=logits[:, position]) > 0).all()


def test_padding_of_the_encoder_is_not_read(projector, encoded, ids, mask):
    for on in (
        projector(encoded),
        projector.spectrum_features(projector.query_states(encoded)),
        projector.matching_logits(encoded, ids, mask),
        projector.generation_logits(encoded, ids, mask),
    ):
        by_state = influence(of=encoded.last_hidden_state, on=on)
        assert torch.equal(by_state > 0, encoded.attention_mask.bool())


def test_padding_of_text_changes_nothing(projector, encoded, ids, mask):
    padded_ids = torch.nn.functional.pad(ids, (0, 3), value=9)  # What stands there must not matter.
    padded_mask = torch.nn.functional.pad(mask, (0, 3))
    for method in (projector.matching_logits, projector.generation_logits):
        expected = method(encoded, ids, mask)
        torch.testing.assert_close(
            method(encoded, padded_ids, padded_mask)[:, : expected.shape[1]], expected, atol=1e-5, rtol=0
        )
    torch.testing.assert_close(
        projector.molecule_features(padded_ids, padded_mask),
        projector.molecule_features(ids, mask),
        atol=1e-5,
        rtol=0,
    )


def test_features_are_unit_vectors_and_similarity_is_the_best_cosine(projector, encoded, ids, mask):
    spectra, molecules = (
        projector.spectrum_features(projector.query_states(encoded)),
        projector.molecule_features(ids, mask),
    )
    assert spectra.shape == (BATCH_SIZE, builders.NUM_QUERIES, 16) and molecules.shape == (BATCH_SIZE, 16)
    torch.testing.assert_close(spectra.norm(dim=-1), torch.ones(BATCH_SIZE, builders.NUM_QUERIES))
    torch.testing.assert_close(molecules.norm(dim=-1), torch.ones(BATCH_SIZE))
    similarity = projector.similarity(spectra, molecules)
    for i in range(BATCH_SIZE):
        for j in range(BATCH_SIZE):
            cosines = [torch.cosine_similarity(query, molecules[j], dim=0) for query in spectra[i]]
            torch.testing.assert_close(similarity[i, j], max(cosines))


def test_eager_and_sdpa_agree(projector, encoded, ids, mask):
    mask[0, 4:] = 0

    def outputs():
        return [
            projector(encoded),
            projector.molecule_features(ids, mask),
            projector.matching_logits(encoded, ids, mask),
            projector.generation_logits(encoded, ids, mask)[mask.bool()],
        ]

    assert projector.qformer.config._attn_implementation == "sdpa"
    expected = outputs()
    projector.qformer.set_attn_implementation("eager")
    assert projector.qformer.config._attn_implementation == "eager"
    for ours, theirs in zip(outputs(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_order_of_text_matters_after_loading(projector, ids, mask, tmp_path):
    """The positions are a buffer that no file holds."""
    model = builders.model(Spec2MolModel)
    model.save_pretrained(tmp_path)
    loaded = Spec2MolModel.from_pretrained(tmp_path)
    expected = projector.molecule_features(ids, mask)
    assert torch.equal(loaded.get_molecule_features(ids, mask), expected)
    swapped = ids[:, [0, 2, 1, 3, 4, 5]]
    assert (loaded.get_molecule_features(swapped, mask) - expected).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize(
    "adapter",
    [{"target_modules": r".*query_tokens"}, {"target_modules": r".*key$", "modules_to_save": ["query_tokens"]}],
    ids=["lora", "modules_to_save"],
)
def test_adapters_reach_the_query_tokens(adapter, tmp_path):
    inputs = builders.processor().feature_extractor(builders.spectra(), return_tensors="pt")
    base = builders.model(Spec2MolModel)
    with torch.no_grad():
        before = base(**inputs).soft_tokens
    model = get_peft_model(base, LoraConfig(r=2, **adapter)).eval()
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any("query_tokens" in name for name in trained)

    model(**inputs).soft_tokens.square().sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01).step()
    with torch.no_grad():
        after = model(**inputs).soft_tokens
    assert (after - before).abs().max() > 1e-4

    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(builders.model(Spec2MolModel), tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).soft_tokens, after)


def test_without_text_branch(encoded, ids, mask):
    projector = builders.model(Spec2MolModel, projector={"use_qformer_text_input": False}).projector
    assert projector(encoded).shape == (BATCH_SIZE, builders.NUM_QUERIES, 32)
    for call in (
        lambda: projector.spectrum_features(projector.query_states(encoded)),
        lambda: projector.molecule_features(ids, mask),
        lambda: projector.matching_logits(encoded, ids, mask),
        lambda: projector.generation_logits(encoded, ids, mask),
    ):
        with pytest.raises(ValueError, match="without a text branch"):
            call()


def test_fixed_temperature():
    """3D-MoLM's: no parameter, so nothing can train it."""
    torch.manual_seed(0)
    model = Spec2MolForPreTraining(builders.config(contrast_temperature=0.1)).train()
    assert not any("temperature" in name for name in model.state_dict())
    inputs = builders.processor()(spectra=builders.spectra(), return_tensors="pt")
    pairs = builders.processor()(molecules=builders.MOLECULES, return_tensors="pt")
    output = model(**builders.spectrum_tensors(model.model, inputs), **pairs)
    cosines, eye = output.similarity, torch.eye(4)
    losses = [torch.nn.functional.cross_entropy(x / 0.1, eye, label_smoothing=0.1) for x in (cosines, cosines.T)]
    torch.testing.assert_close(output.contrast_loss, sum(losses) / 2)


def test_encoder_states_are_normalised_on_request(encoded):
    torch.manual_seed(0)
    projector = Spec2MolModel(builders.config(normalize_encoder=True)).eval().projector
    expected = projector(encoded)
    scaled = EncoderOutput(last_hidden_state=5 * encoded.last_hidden_state + 1, attention_mask=encoded.attention_mask)
    torch.testing.assert_close(projector(scaled), expected, rtol=1e-4, atol=1e-5)
    assert not any("encoder_norm" in name for name, _ in Spec2MolModel(builders.config()).named_parameters())
