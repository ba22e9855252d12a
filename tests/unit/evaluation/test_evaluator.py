import pandas as pd
import pytest
import torch

from spec2mol import predict_molecules
from spec2mol.evaluation.evaluator import (
    add_mces,
    compare,
    draw,
    for_track,
    load_queries,
    score_answers,
    score_pools,
    summaries,
    summarise,
    target_losses,
)
from tests import builders


@pytest.fixture(scope="module")
def trained():
    return builders.trained(steps=150)


@pytest.fixture
def table(tmp_path):
    """Three spectra of the first molecule, one of each other."""
    rows = [s | {"smiles": m} for s, m in zip(builders.spectra(), builders.MOLECULES, strict=True)]
    rows += [rows[0], rows[0]]
    path = tmp_path / "data.parquet"
    pd.DataFrame(row | {"identifier": f"record {i}"} for i, row in enumerate(rows)).to_parquet(path)
    return path


def test_mass_track_hides_the_formula_and_the_control_the_peaks_only():
    rows = [builders.spectrum(**builders.KNOWN)]
    assert for_track(rows, "formula") == rows
    (mass,) = for_track(rows, "mass")
    assert mass["formula"] is None and mass["adduct"] == "[M+H]+" and len(mass["mzs"]) == 5
    (control,) = for_track(rows, "formula", peaks=False)
    assert len(control["mzs"]) == len(control["intensities"]) == 0
    assert control["formula"] == "C2H6O" and control["precursor_mz"] == rows[0]["precursor_mz"]


class TestLoadQueries:
    def test_identity_is_computed_and_unknowns_are_none(self, table):
        rows = load_queries(table)
        assert [row["identifier"] for row in rows] == [f"record {i}" for i in range(6)]
        assert rows[0]["inchikey"] == "LFQSCWFLJHTTHZ" == rows[5]["inchikey"]  # ethanol
        assert rows[1]["adduct"] is None and rows[1]["collision_energy"] is None

    def test_no_row_is_dropped_that_the_model_cannot_write(self, tmp_path):
        path = tmp_path / "data.parquet"
        smiles = ["CCO", "F[S](F)(F)(F)(F)F", "[Xe]"]
        pd.DataFrame(builders.spectrum() | {"smiles": s} for s in smiles).to_parquet(path)
        rows = load_queries(path)
        assert [row["smiles"] for row in rows] == smiles and rows[2]["identifier"] == "2"
        losses = target_losses(builders.model(), builders.processor(), rows, torch.ones(3, 1, 4, 32))
        assert losses[0] > 0 and losses[2] != losses[2]

    def test_at_most_so_many_of_each_molecule_in_the_order_of_the_file(self, table):
        chosen = load_queries(table, per_molecule=2)
        names = [row["identifier"] for row in chosen]
        assert len(names) == 5 and names == sorted(names) and set(names[-4:]) & {"record 4", "record 5", "record 0"}
        assert load_queries(table, per_molecule=2) == chosen
        assert {load_queries(table, 1, seed)[0]["identifier"] for seed in range(10)} == {"record 0", "record 1"}

    def test_errors_name_the_file_and_the_row(self, tmp_path):
        path = tmp_path / "data.parquet"
        pd.DataFrame([builders.spectrum() | {"smiles": "C1CC"}]).to_parquet(path)
        with pytest.raises(ValueError, match="data.parquet: row 0: 'C1CC' is no molecule"):
            load_queries(path)
        pd.DataFrame([builders.spectrum()]).to_parquet(path)
        with pytest.raises(ValueError, match="data.parquet: no column smiles"):
            load_queries(path)


def test_losses_are_those_of_single_examples(trained, table):
    model, processor = trained
    rows = load_queries(table)
    pools = draw(model, processor, rows, constrain=False, num_beams=0, num_samples=1).pools
    losses = target_losses(model, processor, rows, [pool.soft_tokens for pool in pools], batch_size=4)
    for row, loss in zip(rows, losses, strict=True):
        alone = processor(spectra=[row], molecules=[row["smiles"]], return_tensors="pt")
        assert loss == pytest.approx(model(**alone).loss.item(), abs=1e-4)
    (unasked,) = target_losses(model, processor, rows[:1], [pools[0].soft_tokens[:0]])
    assert unasked != unasked


def test_answers_come_back_in_the_order_of_the_queries(trained, table):
    model, processor = trained
    rows = load_queries(table)
    frame = score_pools(rows, draw(model, processor, rows, batch_size=3).pools, [None] * len(rows))
    alone = [next(predict_molecules(model, processor, [row], top_k=10)) for row in rows]
    assert frame["answers"].tolist() == [[c.smiles for c in ranked] for ranked in alone]
    assert all(len(score) == len(ranked) for score, ranked in zip(frame["score"], alone, strict=True))


def test_options_of_generation_are_passed_on(trained, table):
    model, processor = trained
    (query,) = load_queries(table)[:1]  # Its formula and its mass contradict each other.
    assert draw(model, processor, [query]).pools[0].candidates == []
    assert draw(model, processor, [query], constrain=False).pools[0].candidates != []


class TestScores:
    """Two molecules: ethanol with two spectra, benzene with one."""

    ROWS = [
        {"identifier": "0", "inchikey": "ethanol", "smiles": "CCO"},
        {"identifier": "1", "inchikey": "ethanol", "smiles": "CCO"},
        {"identifier": "2", "inchikey": "benzene", "smiles": "c1ccccc1"},
    ]
    ANSWERS = [["COC", "OCC"], ["CCO"], []]

    def test_by_hand(self):
        frame = score_answers(self.ROWS, self.ANSWERS)
        assert frame["exact_match@1"].tolist() == [0, 1, 0]
        assert frame["exact_match@10"].tolist() == [1, 1, 0]
        assert frame["tanimoto@10"].tolist() == [1, 1, 0]
        assert frame["formula_match@1"].tolist() == frame["valid@1"].tolist() == [1, 1, 0]
        assert frame["formula_match@10"].tolist() == frame["mass_match@10"].tolist() == [0.2, 0.1, 0]
        assert frame["mass_error_ppm"].tolist()[:2] == [0, 0]

    def test_no_answer_stays_in_the_denominator(self):
        """Ethanol's spectra are averaged first: (0 + 1) / 2, benzene has 0."""
        summary = summarise(score_answers(self.ROWS, self.ANSWERS))
        assert summary["exact_match@1"].mean == 0.25
        assert summary["exact_match@10"].mean == summary["valid@1"].mean == 0.5

    def test_mces_is_of_one_spectrum_of_each_molecule(self):
        pytest.importorskip("myopic_mces")
        frame = score_answers(self.ROWS, self.ANSWERS)
        add_mces(frame, processes=1)
        assert frame["mces@1"].notna().sum() == 2
        assert frame.loc[2, "mces@1"] == frame.loc[2, "mces@10"] == 100
        assert frame.loc[:1, "mces@10"].dropna().tolist() == [0]
        assert summarise(frame)["mces@10"].mean == 50

    def test_difference_to_the_control_is_paired(self):
        model, control = (score_answers(self.ROWS, a) for a in ([["CCO"]] * 3, [["CCO"], ["CC"], ["CC"]]))
        summary = summaries({"model": model, "peaks removed": control, "other": model})
        assert list(summary) == ["model", "peaks removed", "model less peaks removed", "other"]
        assert summary["model less peaks removed"]["exact_match@1"].mean == 0.25


def test_compare_has_every_control(trained, table):
    rows = load_queries(table)
    library = [row | {"smiles": "CCC", "inchikey": "propane"} for row in rows[:2]]
    systems, drawn = compare(*trained, rows, library, "mass")
    assert list(systems) == [
        "model",
        "peaks removed",
        "library search",
        "library search, with neutral losses",
        "library search, same precursor m/z",
        "random training molecule of the same mass",
    ]
    assert all(len(frame) == len(rows) for frame in systems.values()) and len(drawn.pools) == len(rows)
    assert systems["model"]["exact_match@1"].max() == 1
    assert systems["model"]["loss"].mean() < systems["peaks removed"]["loss"].mean()
    assert systems["library search"]["answers"][0] == ["CCC"]
    assert list(compare(*trained, rows, [], "formula")[0]) == ["model", "peaks removed"]
