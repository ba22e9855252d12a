import numpy as np
import pytest
import torch
from scipy.stats import special_ortho_group

from spec2mol import Spec2MolForConditionalGeneration, UniMolConfig, UniMolModel
from spec2mol.molecules_spec2mol import conformer_features, embed_conformer
from tests import builders

MOLECULES = ["CCO", "CC(=O)[O-]", "O", "c1ccccc1C(=O)NC", "CS(=O)(=O)CCl"]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # float32, and coordinates of a few Angstrom


@pytest.fixture(scope="module")
def conformers():
    return [dict(zip(("atoms", "coordinates"), embed_conformer(smiles), strict=True)) for smiles in MOLECULES]


def tensors(conformers):
    return {name: torch.from_numpy(array) for name, array in conformer_features(conformers).items()}


@pytest.fixture
def model():
    """Every weight matters, and no Gaussian is so narrow that float32 is not enough."""
    torch.manual_seed(0)
    built = builders.randomized(UniMolModel(UniMolConfig(**builders.UNIMOL)))
    with torch.no_grad():
        built.pair_bias.means.uniform_(0, 5)
        built.pair_bias.stds.uniform_(0.3, 3)
        built.pair_bias.scales.uniform_(0.5, 2)
        built.pair_bias.shifts.normal_(std=0.3)
    return built


@torch.no_grad()
def states(model, conformers, **kwargs):
    output = model(**tensors(conformers), **kwargs)
    return [rows[: mask.sum()] for rows, mask in zip(output.last_hidden_state, output.attention_mask, strict=True)]


def moved(conformers, move):
    return [c | {"coordinates": move(np.asarray(c["coordinates"], np.float64))} for c in conformers]


def test_the_released_architecture():
    config = UniMolConfig()
    with torch.device("meta"):
        model = UniMolModel(config)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (15, 512, 2048)
    assert (config.num_attention_heads, config.num_gaussians, config.vocab_size) == (64, 128, 31)
    assert model.pair_bias.scales.shape == (31 * 31,)
    assert 47e6 < model.num_parameters() < 48e6


def test_output_is_that_of_an_encoder(model, conformers):
    output = model(**tensors(conformers), output_hidden_states=True)
    batch, tokens, size = output.last_hidden_state.shape
    assert (batch, size) == (len(MOLECULES), 32) and output.attention_mask.sum(1).tolist() == [5, 6, 3, 12, 8]
    assert len(output.hidden_states) == 3 and torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert model(**tensors(conformers)).hidden_states is None
    assert isinstance(model(**tensors(conformers), return_dict=False), tuple)


def test_rotation_translation_and_reflection_change_nothing(model, conformers):
    rotation = special_ortho_group.rvs(3, random_state=0)
    expected = states(model, conformers)
    for move in (
        lambda xyz: xyz @ rotation.T,
        lambda xyz: xyz + [10.0, -20.0, 5.0],
        lambda xyz: xyz * [-1, 1, 1],  # so mirror images look alike to Uni-Mol
        lambda xyz: (xyz * [-1, 1, 1]) @ rotation.T + [1.0, 2.0, 3.0],
    ):
        for found, row in zip(states(model, moved(conformers, move)), expected, strict=True):
            torch.testing.assert_close(found, row, **TOLERANCE)


def test_states_follow_the_order_of_atoms(model, conformers):
    expected = states(model, conformers)
    for conformer, row in zip(conformers, expected, strict=True):
        order = np.random.default_rng(0).permutation(len(conformer["atoms"]))
        other = {"atoms": [conformer["atoms"][i] for i in order], "coordinates": conformer["coordinates"][order]}
        found = states(model, [other])[0]
        torch.testing.assert_close(found[1:-1], row[1:-1][order], **TOLERANCE)
        torch.testing.assert_close(found[[0, -1]], row[[0, -1]], **TOLERANCE)


def test_distances_matter(model, conformers):
    longer = states(model, moved(conformers, lambda xyz: xyz * 1.05))
    for number, (found, row) in enumerate(zip(longer, states(model, conformers), strict=True)):
        difference = (found - row).abs().max()
        assert difference < 1e-5 if MOLECULES[number] == "O" else difference > 1e-3  # water has one atom


def test_elements_matter(model, conformers):
    ethanol = conformers[0]
    thiol = ethanol | {"atoms": ["C", "C", "S"]}
    assert ((states(model, [thiol])[0] - states(model, [ethanol])[0]).abs().amax(-1) > 1e-3).all()


def test_padding_never_changes_results(model, conformers):
    together = states(model, conformers)
    for conformer, row in zip(conformers, together, strict=True):
        torch.testing.assert_close(states(model, [conformer])[0], row, **TOLERANCE)


def test_weights_of_3d_molm_read_one_token_of_padding(model, conformers):
    """However much there is: alone as in a batch."""
    model.config.reads_padding = True

    def read(conformers):
        with torch.no_grad():
            output = model(**tensors(conformers))
        pairs = zip(output.last_hidden_state, output.attention_mask.bool(), strict=True)
        return [states[mask] for states, mask in pairs]

    for conformer, states in zip(conformers, read(conformers), strict=True):
        (alone,) = read([conformer])
        assert len(alone) == 1
        torch.testing.assert_close(states, alone.expand(len(states), -1), **TOLERANCE)
    assert not torch.allclose(read(conformers[:1])[0], read(conformers[3:4])[0], atol=1e-2)


def test_no_gradient_comes_from_padding(model, conformers):
    inputs = tensors(conformers[:2] + conformers[3:])  # water's one atom has no distances
    embedded = []
    model.embed_norm.register_forward_hook(lambda _, __, output: embedded.append(output.requires_grad_()) or output)
    inputs["coordinates"].requires_grad_()
    output = model(**inputs)
    real = inputs["atoms_mask"].bool()
    states = output.last_hidden_state[real].square().sum()
    for gradient in torch.autograd.grad(states, [inputs["coordinates"], embedded[0]]):
        assert (gradient[~real] == 0).all() and gradient.isfinite().all()
        assert (gradient[inputs["atom_ids"] > 3].abs().sum(-1) > 0).all()


def test_the_mask_need_not_be_given(model, conformers):
    inputs = tensors(conformers)
    del inputs["atoms_mask"]
    torch.testing.assert_close(model(**inputs).last_hidden_state[0, :5], states(model, conformers)[0])


def test_coordinates_in_half_precision_are_refused(model, conformers):
    inputs = tensors(conformers)
    with pytest.raises(ValueError, match="not torch.float32"):
        model(**inputs | {"coordinates": inputs["coordinates"].half()})
    output = model.bfloat16()(**inputs)
    assert output.last_hidden_state.dtype == torch.bfloat16 and output.last_hidden_state.isfinite().all()


def test_initial_gaussians_cover_bond_lengths():
    torch.manual_seed(0)
    bias = UniMolModel(UniMolConfig(**builders.UNIMOL)).pair_bias
    assert bias.means.max() > 2 and bias.means.min() >= 0 and bias.stds.min() >= 0
    assert (bias.scales == 1).all() and (bias.shifts == 0).all()


def test_save_and_load(model, conformers, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = UniMolModel.from_pretrained(tmp_path).eval()
    for found, row in zip(states(loaded, conformers), states(model, conformers), strict=True):
        assert torch.equal(found, row)


def test_in_the_whole_system():
    """Conformers in, molecules out: contract, generation, and no influence of padding."""
    torch.manual_seed(3)
    model = builders.randomized(Spec2MolForConditionalGeneration(builders.conformer_config()))
    processor = builders.processor(molecules="conformer")
    molecules = list(builders.MOLECULES)
    prompts = processor(molecules=molecules, return_tensors="pt")
    together = model.generate(**prompts, max_new_tokens=6, do_sample=False)
    assert len(processor.decode_molecules(together)) == len(molecules)
    soft = model.model(**{name: prompts[name] for name in model.model.input_names}).soft_tokens
    for row, molecule in enumerate(molecules):
        alone = processor(molecules=[molecule], return_tensors="pt")
        tokens = model.model(**{name: alone[name] for name in model.model.input_names}).soft_tokens
        torch.testing.assert_close(tokens[0], soft[row], **TOLERANCE)
    examples = processor(molecules=molecules, text=["[C][O]", "[C]", "[O]", "[C][C]"], return_tensors="pt")
    assert model(**examples).loss.isfinite()
