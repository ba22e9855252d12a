import pytest
import torch

from spec2mol import Spec2MolForConditionalGeneration, Spec2MolModel
from spec2mol.modeling_multilevel import MultilevelProjector
from tests import builders

MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "C", "CC(=O)[O-].[Na+]", "CCO"]


@pytest.fixture
def processor():
    tool = builders.processor(molecules="graph")
    tool.num_query_tokens = 28
    return tool


@pytest.fixture
def model():
    torch.manual_seed(0)
    return builders.randomized(Spec2MolModel(builders.graph_config()))


@pytest.fixture
def encoded(model, processor):
    with torch.no_grad():
        return model.encode(**processor.feature_extractor(MOLECULES, return_tensors="pt"))


@torch.no_grad()
def test_28_tokens(model, encoded):
    assert len(encoded.hidden_states) == 6
    assert model.projector.query_states(encoded).shape == (4, 28, 24)
    assert model.projector(encoded).shape == (4, 28, 32)


@torch.no_grad()
@pytest.mark.parametrize("level", range(6))
def test_a_level_has_its_own_slots(model, encoded, level):
    expected = model.projector.query_states(encoded)
    levels = list(encoded.hidden_states)
    levels[level] = torch.zeros_like(levels[level])
    encoded.hidden_states = tuple(levels)
    changed = (model.projector.query_states(encoded) != expected).any(-1)
    slots = range(4 + 4 * level, 8 + 4 * level)
    assert changed[:, slots].all() and changed.sum() == 4 * len(slots)


@torch.no_grad()
def test_motifs_have_the_first_slots(model, encoded):
    expected = model.projector.query_states(encoded)
    encoded.motif_features = torch.zeros_like(encoded.motif_features)
    changed = (model.projector.query_states(encoded) != expected).any(-1)
    assert not changed[:, 4:].any()
    assert changed[:, :4].all(1).tolist() == [True, False, True, True]  # methane has no functional group


@torch.no_grad()
def test_without_motifs_the_queries_stay(model, encoded):
    methane = model.projector.query_states(encoded)[1, :4]
    torch.testing.assert_close(methane, model.projector.norm(model.projector.motif_queries))


@torch.no_grad()
def test_padding_never_changes_results(model, processor):
    together = model(**processor.feature_extractor(MOLECULES, return_tensors="pt")).soft_tokens
    for molecule, tokens in zip(MOLECULES, together, strict=True):
        alone = model(**processor.feature_extractor(molecule, return_tensors="pt")).soft_tokens
        torch.testing.assert_close(alone[0], tokens, rtol=1e-4, atol=1e-5)


def test_no_gradient_comes_from_padding(model, encoded):
    encoded.motif_features.requires_grad_()
    levels = [level.requires_grad_() for level in encoded.hidden_states]
    gradients = torch.autograd.grad(model.projector(encoded).square().sum(), [encoded.motif_features, *levels])
    masks = [encoded.motif_mask, *[encoded.attention_mask] * 6]
    for gradient, mask in zip(gradients, masks, strict=True):
        assert gradient.isfinite().all() and (gradient[mask == 0] == 0).all()
        assert (gradient[mask == 1].abs().sum(-1) > 0).all()


def test_levels_share_one_attention_only_on_request():
    projectors = [
        MultilevelProjector(builders.graph_config(projector={"share_level_attention": shared}))
        for shared in (False, True)
    ]
    assert [len(projector.level_attention) for projector in projectors] == [6, 1]
    one = sum(weight.numel() for weight in projectors[1].level_attention.parameters())
    sizes = [sum(weight.numel() for weight in projector.parameters()) for projector in projectors]
    assert sizes[0] - sizes[1] == 5 * one
    queries = [projectors[1].level_queries for _ in range(2)]
    assert queries[0].shape == (6, 4, 24)


def test_without_motif_queries():
    config = builders.graph_config(projector={"num_motif_queries": 0}, num_query_tokens=24)
    assert not any("motif" in name for name, _ in MultilevelProjector(config).named_parameters())


def test_queries_start_apart():
    torch.manual_seed(0)
    projector = Spec2MolModel(builders.graph_config()).projector
    assert 0.9 < projector.level_queries.std() < 1.1 and 0.8 < projector.motif_queries.std() < 1.2


def test_a_language_model_gets_new_parts(tmp_path):
    """Parts that a folder lacks start as those of a new model, not as what lay in memory."""
    builders.model(encoder=None, projector=None, condition_config=None).save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, config=builders.graph_config()).model
    torch.manual_seed(0)
    new = Spec2MolModel(builders.graph_config())
    for (name, found), expected in zip(loaded.state_dict().items(), new.state_dict().values(), strict=True):
        assert found.isfinite().all(), name
        if found.ndim > 1:
            assert 0.8 < found.std() / expected.std() < 1.25, name
        elif found.is_floating_point():
            torch.testing.assert_close(found, expected, rtol=0, atol=0.5, msg=name)


def test_wrong_configurations_are_refused():
    with pytest.raises(ValueError, match="num_query_tokens is 32, but there are 4 motif queries and 6 x 4"):
        Spec2MolModel(builders.graph_config(num_query_tokens=32))
    with pytest.raises(ValueError, match="condition_config must be None"):
        Spec2MolModel(builders.graph_config(condition_config={}))


def test_in_the_whole_system(processor, tmp_path):
    """Graphs in, molecules out, and the same after saving."""
    torch.manual_seed(3)
    model = builders.randomized(Spec2MolForConditionalGeneration(builders.graph_config()))
    examples = processor(molecules=MOLECULES, text=["[C][O]", "[C]", "[O]", "[C][C]"], return_tensors="pt")
    assert examples["input_ids"].shape[1] == 28 + 4
    with torch.no_grad():
        loss = model(**examples).loss
    prompts = processor(molecules=MOLECULES, return_tensors="pt")
    answers = model.generate(**prompts, max_new_tokens=6, do_sample=False)
    model.save_pretrained(tmp_path)
    loaded, info = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**examples).loss, loss)
    assert torch.equal(loaded.generate(**prompts, max_new_tokens=6, do_sample=False), answers)
