import math

import pytest
import torch

from spec2mol import ConditionConfig, Spec2MolModel
from spec2mol.feature_extraction_spec2mol import CONDITIONS
from spec2mol.modeling_conditions import ConditionEmbeddings, FourierFeatures
from tests import builders

# Where each condition of the mask lies, and another value for it
PLACES = {
    "precursor_mz": ("condition_values", 0, 777.7),
    "collision_energy": ("condition_values", 1, 45.0),
    "adduct": ("condition_ids", 0, 5),
    "ion_mode": ("condition_ids", 1, 2),
    "instrument_type": ("condition_ids", 2, 3),
    "formula": ("formula_counts", slice(None), 7.0),
}
BATCH_SIZE = 2


@pytest.fixture(scope="module")
def model():
    return builders.model(Spec2MolModel)


@pytest.fixture
def inputs():
    known = [builders.spectrum(seed, **builders.KNOWN) for seed in range(BATCH_SIZE)]
    return builders.processor().feature_extractor(known, return_tensors="pt")


def changed(inputs, condition):
    name, column, value = PLACES[condition]
    tensor = inputs[name].clone()
    tensor[:, column] = value
    return {**inputs, name: tensor}


def with_mask(inputs, condition, known):
    mask = inputs["condition_mask"].clone()
    mask[:, CONDITIONS.index(condition)] = known
    return {**inputs, "condition_mask": mask}


def test_every_condition_is_tested():
    assert tuple(PLACES) == CONDITIONS


@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_unknown_condition_has_no_influence_at_all(model, inputs, condition):
    unknown = with_mask(inputs, condition, known=0)
    with torch.no_grad():
        assert torch.equal(model(**unknown).soft_tokens, model(**changed(unknown, condition)).soft_tokens)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_known_condition_has_influence(model, inputs, condition):
    assert inputs["condition_mask"].all()
    with torch.no_grad():
        difference = model(**inputs).soft_tokens - model(**changed(inputs, condition)).soft_tokens
    assert (difference.abs().amax((1, 2)) > 1e-3).all()


@pytest.mark.parametrize("known", [0, 1])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_only_known_conditions_get_gradients(model, inputs, condition, known):
    module = {
        "precursor_mz": model.conditions.mz_projection,
        "collision_energy": model.conditions.energy_projection,
        "adduct": model.conditions.adducts,
        "ion_mode": model.conditions.ion_modes,
        "instrument_type": model.conditions.instrument_types,
        "formula": model.conditions.formula_projection,
    }[condition]
    soft_tokens = model(**with_mask(inputs, condition, known)).soft_tokens
    (gradient,) = torch.autograd.grad(soft_tokens.square().sum(), module.weight)
    assert bool(gradient.any()) == bool(known)


def test_no_condition_tensors_means_nothing_known(model, inputs):
    nothing_known = {**inputs, "condition_mask": torch.zeros_like(inputs["condition_mask"])}
    peaks_alone = {name: inputs[name] for name in ("peaks", "peaks_mask")}
    with torch.no_grad():
        difference = model(**nothing_known).soft_tokens - model(**peaks_alone).soft_tokens
    assert difference.abs().max() < 1e-5


def test_fourier_features_follow_their_definition():
    features = FourierFeatures(3, shortest=1.0, longest=100.0)  # wavelengths 1, 10, 100
    phases = [2 * math.pi * 2.5 / wavelength for wavelength in (1, 10, 100)]
    expected = torch.tensor([*map(math.cos, phases), *map(math.sin, phases)])
    torch.testing.assert_close(features(torch.tensor([2.5])), expected, atol=1e-5, rtol=0)


def test_features_are_computed_in_float32_by_a_bfloat16_model(inputs):
    conditions = ConditionEmbeddings(ConditionConfig(), hidden_size=32).to(torch.bfloat16)
    read = []
    conditions.mz_projection.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    inputs["condition_values"][:, 0] = torch.tensor([500.0, 500.01])  # Da; one number in bfloat16
    states, mask = conditions(**{name: inputs[name] for name in conditions.input_names})

    wavelengths = torch.tensor(conditions.mz_features.wavelengths, dtype=torch.float64)
    phases = 2 * math.pi * inputs["condition_values"][:, :1].double() / wavelengths
    assert (read[0] - torch.cat([phases.cos(), phases.sin()], -1)).abs().max() < 0.02
    assert (read[0][0] - read[0][1]).abs().max() > 0.5
    assert states.dtype == torch.bfloat16 and states.shape == (BATCH_SIZE, len(CONDITIONS), 32)
    assert torch.equal(mask, inputs["condition_mask"])
