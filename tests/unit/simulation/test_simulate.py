import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from spec2mol.data.examples import molecule_identity
from spec2mol.evaluation.intervals import paired_difference
from spec2mol.fragment_graph_spec2mol import PRECURSOR_HYDROGENS
from spec2mol.simulation.evaluate import evaluate_molecule
from spec2mol.simulation.simulate import (
    MAX_PEAKS,
    MIN_INTENSITY,
    CannotCarry,
    Conditions,
    MeasuredConditions,
    can_carry,
    fitted_molecules,
    load_fragmentation,
    simulate,
    to_peaks,
)

CAFFEINE = "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"


@pytest.fixture(scope="module")
def model():
    return load_fragmentation()


def test_caffeine(model):
    """Its main loss is methyl isocyanate, then carbon monoxide (138.0662, 110.0713), at high energies only."""
    soft = simulate(model, CAFFEINE, Conditions("[M+H]+", 5.0, "QTOF"))
    hard = simulate(model, CAFFEINE, Conditions("[M+H]+", 40.0, "QTOF"))
    assert soft["mzs"][np.argmax(soft["intensities"])] == pytest.approx(195.0877, abs=1e-3)
    for mz in (138.0662, 110.0713):
        assert np.abs(hard["mzs"] - mz).min() < 1e-3
    assert intensity(hard, 138.0662) > intensity(soft, 138.0662)
    assert intensity(hard, 195.0877) < intensity(soft, 195.0877)


def intensity(spectrum, mz):
    return spectrum["intensities"][np.abs(spectrum["mzs"] - mz) < 1e-3].sum()


def test_the_row_of_a_spectrum(model):
    row = simulate(model, "C[C@H](N)C(=O)[OH]", Conditions("[M-H]-", 20.0, "Orbitrap"))
    assert row["smiles"] == "CC(N)C(=O)O"
    assert row["inchikey"] == "QNAYBMKLOCPYGJ"
    assert row["formula"] == "C3H7NO2"
    assert row["precursor_mz"] == pytest.approx(88.0404, abs=1e-4)
    assert (row["adduct"], row["ion_mode"]) == ("[M-H]-", "negative")
    assert (row["collision_energy"], row["instrument_type"]) == (20.0, "Orbitrap")
    assert (np.diff(row["mzs"]) > 0).all()
    assert row["mzs"].max() < row["precursor_mz"] + 1e-3
    assert row["intensities"].max() == 1
    assert row["intensities"].min() >= MIN_INTENSITY


def test_the_same_molecule_gives_the_same_spectrum(model):
    conditions = Conditions("[M+H]+", 30.0, "QTOF")
    a, b = (simulate(model, smiles, conditions) for smiles in (CAFFEINE, "Cn1c(=O)c2c(ncn2C)n(C)c1=O"))
    np.testing.assert_array_equal(a["mzs"], b["mzs"])
    np.testing.assert_array_equal(a["intensities"], b["intensities"])


def test_unknown_conditions(model):
    assert len(simulate(model, CAFFEINE, Conditions())["mzs"])


def test_peaks_of_one_mz_add_up_and_the_weak_are_left_out():
    scores = np.log([0.5, 0.5, 0.5, 1e-5])
    mzs, intensities = to_peaks(np.array([80.0, 60.0, 80.0, 70.0]), scores)
    assert mzs.tolist() == [60.0, 80.0]
    assert intensities.tolist() == [0.5, 1.0]
    assert len(to_peaks(np.arange(50.0, 500.0), np.zeros(450)).mzs) == MAX_PEAKS


@pytest.mark.parametrize(
    "name, smiles, adducts",
    [
        ("benzoic acid", "O=C(O)c1ccccc1", ["[M+H]+", "[M-H]-", "[M+Na]+"]),
        ("acetanilide", "CC(=O)Nc1ccccc1", ["[M+H]+", "[M-H]-", "[M+Na]+"]),
        ("triethylamine", "CCN(CC)CC", ["[M+H]+", "[M+Na]+"]),
        ("pyridine", "c1ccncc1", ["[M+H]+", "[M+Na]+"]),
        ("choline", "C[N+](C)(C)CCO", ["[M]+"]),
        ("hexane", "CCCCCC", []),
    ],
)
def test_which_ions_a_molecule_forms(name, smiles, adducts):
    molecule = Chem.MolFromSmiles(smiles)
    assert {adduct for adduct in PRECURSOR_HYDROGENS if can_carry(molecule, adduct)} == set(adducts)


def test_what_cannot_be_simulated(model):
    with pytest.raises(CannotCarry, match=r"does not form \[M-H\]-"):
        simulate(model, "c1ccncc1", Conditions("[M-H]-"))
    with pytest.raises(ValueError, match="no molecule"):
        simulate(model, "C1CC", Conditions())


def measured(**columns):
    row = {"adduct": "[M+H]+", "collision_energy": 30.0, "instrument_type": "QTOF", "precursor_mz": 300.0}
    return pd.DataFrame([row | {"collision_energy_kind": "eV"} | columns])


def test_measured_conditions_are_drawn_together():
    spectra = [
        measured(),
        measured(adduct="[M-H]-", collision_energy=10.0, instrument_type="Orbitrap"),
        measured(adduct="[M+K]+"),
        measured(collision_energy=None),
    ]
    conditions = MeasuredConditions(pd.concat(spectra))
    acid, amine = (Chem.MolFromSmiles(smiles) for smiles in ("OC(=O)CCN", "CCN(CC)CC"))
    positive, negative = Conditions("[M+H]+", 30.0, "QTOF"), Conditions("[M-H]-", 10.0, "Orbitrap")
    rng = np.random.default_rng(0)
    assert {conditions.draw(acid, rng) for _ in range(20)} == {positive, negative}
    assert {conditions.draw(amine, rng) for _ in range(20)} == {positive}
    with pytest.raises(CannotCarry):
        conditions.draw(Chem.MolFromSmiles("CCC"), rng)


def test_normalised_energies_grow_with_the_mass():
    """30 eV at m/z 300 is a normalised energy of 50, so 9.0 eV at m/z 90.0550."""
    conditions = MeasuredConditions(measured(collision_energy_kind="NCE_converted"))
    drawn = conditions.draw(Chem.MolFromSmiles("OC(=O)CCN"), np.random.default_rng(0))
    assert drawn.collision_energy == pytest.approx(9.0055, abs=1e-4)


def test_no_conditions_left():
    with pytest.raises(ValueError, match="no spectrum has an adduct"):
        MeasuredConditions(measured(instrument_type="ITTOF"))


def test_learned_weights_beat_the_controls(model, shared):
    """On molecules that were not trained on, and by more than chance."""
    spectra = pd.read_parquet(shared / "data" / "massbank" / "val.parquet")
    spectra = spectra[spectra["adduct"].isin(["[M+H]+", "[M-H]-"])].sample(frac=1, random_state=0)
    few = spectra.drop_duplicates("inchikey").head(50)
    results = pd.DataFrame(row for i in range(len(few)) for row in evaluate_molecule(model, few.iloc[[i]]))
    for similarity in ("cosine", "entropy"):
        for control in ("precursor only", "uniform"):
            of_model, of_control = results[f"{similarity} model"], results[f"{similarity} {control}"]
            assert paired_difference(of_model, of_control, results["inchikey"]).low > 0


def test_the_weights_tell_which_molecules_they_have_seen(shared):
    train, val = (pd.read_parquet(shared / f"data/massbank/{fold}.parquet")["inchikey"] for fold in ("train", "val"))
    seen = set(fitted_molecules())
    assert {molecule_identity(key[:14]) for key in train.unique()} == seen
    assert not {molecule_identity(key[:14]) for key in val.unique()} & seen
