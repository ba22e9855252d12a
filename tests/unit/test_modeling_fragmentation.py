import numpy as np
import pytest
import torch
from rdkit import Chem

from spec2mol import FragmentationConfig
from spec2mol.fragment_graph_spec2mol import FragmentGraph, charge_shift, condition_features
from spec2mol.modeling_fragmentation import MASS_UNIT, MIN_SHARE, FragmentationModel
from spec2mol.simulation.simulate import load_fragmentation

CAFFEINE = Chem.MolFromSmiles("CN1C=NC2=C1C(=O)N(C(=O)N2C)C")
SPECTRUM = {  # of protonated caffeine
    "mzs": [83.0604, 110.0713, 138.0662, 195.0877],
    "intensities": [0.05, 0.2, 1.0, 0.4],
    "adduct": "[M+H]+",
    "collision_energy": 30.0,
    "instrument_type": "QTOF",
}


@pytest.fixture(scope="module")
def learned():
    return load_fragmentation()


def shares_of(model, spectrum):
    """Of the ion current, for every m/z that a fragment of caffeine can have."""
    graph = FragmentGraph.from_molecule(CAFFEINE)
    known = spectrum["adduct"], spectrum.get("collision_energy"), spectrum.get("instrument_type")
    with torch.no_grad():
        scores = model(graph, known[:1], torch.from_numpy(condition_features(graph.mass, *known))[None])[0]
    possible = graph.is_possible(spectrum["adduct"])
    return graph.masses[possible] + charge_shift(spectrum["adduct"]), scores.numpy()[possible]


@pytest.mark.parametrize("known", [{}, {"collision_energy": None, "instrument_type": None}, {"adduct": "[M+Na]+"}])
def test_log_share_is_the_weighted_mean_over_the_peaks(learned, known):
    spectrum = SPECTRUM | known
    mzs, scores = shares_of(learned, spectrum)
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    of_peaks = [shares[np.abs(mzs - mz) <= max(mz * 10e-6, 0.005)].sum() for mz in spectrum["mzs"]]
    weights = np.sqrt(spectrum["intensities"])
    expected = (weights * np.log(np.array(of_peaks) + MIN_SHARE)).sum() / weights.sum()
    assert learned.log_share(CAFFEINE, spectrum) == pytest.approx(expected, abs=1e-4)


def test_peaks_that_no_fragment_explains_count_as_the_least_share(learned):
    alone = SPECTRUM | {"mzs": [150.5], "intensities": [1.0]}
    assert learned.log_share(CAFFEINE, alone) == pytest.approx(np.log(MIN_SHARE))


def test_a_spectrum_is_best_explained_by_its_own_molecule(learned):
    """Among isomers of caffeine, C8H10N4O2."""
    isomers = ["CCCn1cnc2c1c(=O)[nH]c(=O)[nH]2", "CCn1c(=O)[nH]c2nc(C)[nH]c2c1=O", "NC(=O)c1ccc(NC(=O)NN)cc1"]
    own = learned.log_share(CAFFEINE, SPECTRUM)
    assert all(own > learned.log_share(Chem.MolFromSmiles(smiles), SPECTRUM) for smiles in isomers)


def test_common_losses_and_ions_have_scores_of_their_own():
    """Within 0.4 mDa, also in half precision, in which no mass could be told from the next."""
    torch.manual_seed(0)
    model = FragmentationModel(FragmentationConfig())
    model.ions[0] = round(138.0667 / MASS_UNIT)
    without = shares_of(model, SPECTRUM)[1]
    with torch.no_grad():
        model.ion_scores.weight[1] += 1.0
        model.ion_conditions.bias.fill_(1.0)
        model.ion_conditions.weight.zero_()
    mzs, scores = shares_of(model, SPECTRUM)
    _, halved = shares_of(model.bfloat16().float(), SPECTRUM)
    is_ion = np.abs(mzs - 138.0662) < 4e-4
    assert 0 < is_ion.sum() < len(mzs)
    assert (scores - without)[is_ion].min() > (scores - without)[~is_ion].max() + 4
    assert np.abs(halved - scores).max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_computes_in_the_dtype_of_its_weights(learned, dtype):
    exact, rounded = (
        learned.log_share(CAFFEINE, SPECTRUM),
        load_fragmentation().to(dtype).log_share(CAFFEINE, SPECTRUM),
    )
    assert rounded == pytest.approx(exact, abs=0.05)


def test_what_was_never_fitted_says_so(learned):
    assert FragmentationModel(FragmentationConfig()).is_untrained and not learned.is_untrained
