import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from spec2mol.data.collator import Spec2MolCollator
from spec2mol.data.examples import load_examples
from spec2mol.feature_extraction_spec2mol import CONDITIONS
from tests.builders import MOLECULES, processor, spectra

INCHIKEYS = [("CCO", "LFQSCWFLJHTTHZ"), ("CCO", "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"), ("CCS", "DNJIEGIFACGWOD")]


@pytest.fixture
def table(tmp_path):
    rows = [
        s | {"smiles": smiles, "inchikey": smiles, "identifier": str(i)}
        for i, (s, smiles) in enumerate(zip(spectra(), MOLECULES, strict=True))
    ]
    path = tmp_path / "spectra.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_examples_hold_targets_and_lengths(table):
    examples = load_examples(table, processor())
    assert examples[0]["target_ids"] == processor().encode_molecule(MOLECULES[0])
    assert examples["num_tokens"][:] == [len(ids) for ids in examples["target_ids"]]
    assert examples["num_peaks"][:] == [5, 8, 1, 3]


def test_tables_of_other_programs_join(table, tmp_path):
    """The same columns as wider or narrower text and numbers."""
    other = pq.read_table(table)
    for i, field in enumerate(other.schema):
        kinds = {pa.string(): pa.large_string(), pa.large_string(): pa.string(), pa.float64(): pa.float32()}
        if field.type in kinds:
            other = other.set_column(i, field.name, other.column(i).cast(kinds[field.type]))
    pq.write_table(other, tmp_path / "other.parquet")
    examples = load_examples([str(table), str(tmp_path / "other.parquet")], processor())
    half = len(examples) // 2
    assert examples["smiles"][:half] == examples["smiles"][half:]
    assert examples["precursor_mz"][:half] == pytest.approx(examples["precursor_mz"][half:])


def test_limit(table):
    assert len(load_examples(table, processor(), limit=2)) == 2


def test_text_is_of_the_first_column_that_a_file_has(tmp_path):
    captions, named = str(tmp_path / "captions.parquet"), str(tmp_path / "names.jsonl")
    pd.DataFrame({"smiles": ["CO"], "description": ["CCO"], "name": ["CO"]}).to_parquet(captions)
    pd.DataFrame({"smiles": ["CCO"], "name": ["CCS"]}).to_json(named, orient="records", lines=True)
    tool = processor()
    examples = load_examples([captions, named], tool, text=["description", "name"])
    assert examples["target_ids"][:] == [tool.encode_text("CCO"), tool.encode_text("CCS")]
    with pytest.raises(ValueError, match=r"names\.jsonl: no column description"):
        load_examples([captions, named], tool, text="description")


def test_what_an_encoder_reads_must_be_a_molecule(tmp_path, capsys):
    path = str(tmp_path / "molecules.parquet")
    pd.DataFrame({"smiles": ["CCO", "C1CC", "CCS"], "text": ["CCO", "CC", None]}).to_parquet(path)
    tool = processor()
    assert load_examples(path, tool, text="text")["smiles"][:] == ["CCO", "C1CC"]  # The text alone is read.
    tool.feature_extractor.molecules = "graph"
    assert load_examples(path, tool, text="text", fingerprint_size=64)["smiles"][:] == ["CCO"]
    assert "2 of 3 rows dropped, they have no text or no molecule" in capsys.readouterr().out


def test_metals_are_no_counted_elements(tmp_path):
    path = str(tmp_path / "tin.parquet")
    pd.DataFrame({"smiles": ["C[Sn](C)(C)C"], "text": ["CO"]}).to_parquet(path)
    tool = processor()
    (row,) = load_examples(path, tool, text="text", fingerprint_size=64)
    counts = dict(zip(tool.feature_extractor.elements, row["element_counts"], strict=True))
    assert {element: n for element, n in counts.items() if n} == {"C": 4, "H": 12}


def test_molecules_that_selfies_cannot_write_are_dropped_and_counted(tmp_path, capsys):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": ["CCO", "C1CC", "CCS"]}).to_parquet(path)
    assert load_examples(path, processor())["smiles"][:] == ["CCO", "CCS"]
    assert "1 of 3 rows dropped" in capsys.readouterr().out


def test_collator_equals_processor(table):
    batch = Spec2MolCollator(processor())(load_examples(table, processor()).to_list())
    expected = processor()(spectra=spectra(), molecules=list(MOLECULES), return_tensors="pt")
    assert set(batch) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name


def test_molecules_alone_have_no_soft_tokens(tmp_path):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": list(MOLECULES)}).to_parquet(path)
    batch = Spec2MolCollator(processor())(load_examples(path, processor()).to_list())
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert (batch["input_ids"][:, 0] == processor().tokenizer.bos_token_id).all()
    assert (batch["labels"][:, 0] == -100).all() and (batch["labels"][:, 1] != -100).all()


def test_condition_dropout_hides_the_named_conditions(table):
    torch.manual_seed(0)
    rows = load_examples(table, processor()).to_list() * 500
    known = Spec2MolCollator(processor())(rows)["condition_mask"].float().mean(0)
    seen = Spec2MolCollator(processor(), {"formula": 0.5, "adduct": 1.0})(rows)["condition_mask"].float().mean(0)
    assert seen[CONDITIONS.index("adduct")] == 0
    assert 0.45 < seen[CONDITIONS.index("formula")] / known[CONDITIONS.index("formula")] < 0.55
    assert seen[CONDITIONS.index("precursor_mz")] == 1


def test_a_part_of_the_fingerprint_is_told_in_a_share_of_the_rows(table):
    rows = list(load_examples(table, processor(), fingerprint_size=64)) * 50
    torch.manual_seed(0)
    shares = Spec2MolCollator(processor(), told_fingerprint=0.5)(rows)["told_share"]
    assert 0.4 < (shares > 0).float().mean() < 0.6
    assert 0.4 < shares[shares > 0].mean() < 0.6 and shares.max() <= 1
    assert "told_share" not in Spec2MolCollator(processor())(rows)


def test_a_hidden_precursor_is_hidden_from_the_encoder_too(table):
    rows = load_examples(table, processor()).to_list()
    batch = Spec2MolCollator(processor(), {"precursor_mz": 1.0})([*rows, rows[0] | {"mzs": [], "intensities": []}])
    assert (batch["condition_mask"][:, CONDITIONS.index("precursor_mz")] == 0).all()
    assert batch["peaks_mask"][:, 0].tolist() == [0, 0, 0, 0, 1]  # something must be left to read
    assert batch["peaks_mask"].sum(1).tolist() == [5, 8, 1, 3, 1]


def test_unknown_condition_names_are_an_error():
    with pytest.raises(ValueError, match="no such conditions: energy"):
        Spec2MolCollator(processor(), {"energy": 0.1})


def test_a_row_counts_as_often_as_its_source_weighs(tmp_path):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": ["CCO", "CCS", "CCN"], "source": ["coconut_plants", "chembl_30", "mibig"]}).to_parquet(
        path
    )
    examples = load_examples(path, processor(), weights={"coconut_*": 3, "chembl*": 0})
    assert examples["smiles"][:] == ["CCO", "CCO", "CCO", "CCN"]
    with pytest.raises(
        ValueError, match="weight of 'zinc': no such source; there are chembl_30, coconut_plants, mibig"
    ):
        load_examples(path, processor(), weights={"zinc": 2})


def test_identity_is_that_of_the_inchikey_in_every_file(table, tmp_path):
    """One table has InChIKeys, the other only structures, drawn otherwise."""
    pd.DataFrame([spectra()[0] | {"smiles": s, "inchikey": k} for s, k in INCHIKEYS]).to_parquet(table)
    bare = tmp_path / "bare.parquet"
    pd.DataFrame([spectra()[0] | {"smiles": "OCC"}, spectra()[0] | {"smiles": "CC"}]).to_parquet(bare)
    keyed, computed = load_examples(table, processor())["identity"][:], load_examples(bare, processor())["identity"][:]
    assert keyed[0] == keyed[1] == computed[0]
    assert len({keyed[0], keyed[2], computed[1]}) == 3
    batch = Spec2MolCollator(processor(), pairs=True)(load_examples(table, processor()).to_list())
    assert batch["identity"].tolist() == keyed


def test_mass_of_the_molecule(table):
    assert load_examples(table, processor())["mass"][0] == pytest.approx(46.0419, abs=1e-4)


class TestRandomOrder:
    def rows(self):
        return [{"smiles": "CCN(CC)CCS", "target_ids": processor().encode_molecule("CCN(CC)CCS")}] * 50

    def texts(self, **fields):
        torch.manual_seed(0)
        return Spec2MolCollator(processor(), **fields)(self.rows())["input_ids"]

    def test_the_same_molecule_by_other_symbols(self):
        ids = self.texts(random_order=1.0)
        assert len(ids.unique(dim=0)) > 10
        assert set(processor().decode_molecules(ids)) == {"CCN(CC)CCS"}

    def test_share(self):
        written = processor().encode_molecule("CCN(CC)CCS")
        changed = [row[row != 1].tolist() != written for row in self.texts(random_order=0.5)]
        assert 10 < sum(changed) < 40

    def test_long_ones_stay_as_they_are(self):
        written = processor().encode_molecule("CCN(CC)CCS")
        ids = self.texts(random_order=1.0, max_tokens=len(written) - 1)
        assert ids.tolist() == [written] * 50
