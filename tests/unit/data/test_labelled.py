"""Rows of training data from labelled spectra in any format."""

from collections import Counter

import pandas as pd
import pytest

from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.data.labelled import SCHEMA, identify, labelled_rows, molecules_in

MGF = """BEGIN IONS
TITLE={title}
PEPMASS={precursor_mz}
ADDUCT={adduct}
COLLISION_ENERGY=20 eV
SMILES={smiles}
{more}
100.0 5
138.0662 20
END IONS
"""
MASSBANK = """ACCESSION: MSBNK-Lab-X1
RECORD_TITLE: Ethanol; LC-ESI-QTOF; MS2
AUTHORS: A. Chemist
LICENSE: CC BY-SA
CH$NAME: Ethanol
CH$SMILES: OCC
CH$IUPAC: InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3
AC$MASS_SPECTROMETRY: MS_TYPE MS2
AC$MASS_SPECTROMETRY: ION_MODE POSITIVE
MS$FOCUSED_ION: PRECURSOR_M/Z 47.0491
MS$FOCUSED_ION: PRECURSOR_TYPE [M+H]+
PK$NUM_PEAK: 1
PK$PEAK: m/z int. rel.int.
  29.0386 10 999
//
"""


def entry(title="ethanol", smiles="OCC", precursor_mz=47.0491, adduct="[M+H]+", more=""):
    return MGF.format(title=title, smiles=smiles, precursor_mz=precursor_mz, adduct=adduct, more=more)


@pytest.fixture
def rows(tmp_path):
    """Rows and counts of what was left out, of a file with this text."""

    def read(*texts, name="mine.mgf", held_out=()):
        (tmp_path / name).write_text("\n".join(texts))
        dropped = Counter()
        return list(labelled_rows(tmp_path / name, frozenset(held_out), dropped)), +dropped

    return read


def test_a_row_has_spectrum_and_molecule(rows):
    (row,), dropped = rows(entry(more="LICENSE=CC0"))
    assert row.keys() == set(SCHEMA.names) and not dropped
    assert (row["smiles"], row["formula"], row["inchikey"]) == ("CCO", "C2H6O", inchikey_block("CCO"))
    assert (row["adduct"], row["ion_mode"], row["collision_energy"]) == ("[M+H]+", "positive", 20.0)
    assert list(row["intensities"]) == [0.25, 1.0] and list(row["mzs"]) == [100.0, 138.0662]
    assert (row["source"], row["license"], row["contributor"]) == ("mine", "CC0", None)


def test_records_of_massbank_bring_their_credits(rows):
    (row,), _ = rows(MASSBANK, name="record.txt")
    assert (row["source"], row["contributor"], row["authors"], row["license"]) == (
        "massbank",
        "Lab",
        "A. Chemist",
        "CC BY-SA",
    )


def test_a_structure_may_be_an_inchi(rows):
    (row,), _ = rows(entry(smiles="n/a", more="INCHI=InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"))
    assert row["smiles"] == "CCO"


def test_what_cannot_be_used_is_counted_by_reason(rows):
    kept, dropped = rows(
        entry("good"),
        entry("none", smiles=""),
        entry("wrong", smiles="C1CC"),
        entry("another molecule", smiles="CCN"),
        entry("another adduct", adduct="[M+Na]+"),
        entry("unknown adduct", adduct="[M+Xy]+"),
        entry("no peaks").replace("100.0 5\n138.0662 20\n", ""),
    )
    assert [row["identifier"] for row in kept] == ["good", "unknown adduct"]
    assert dropped == {
        "no structure given": 1,
        "structure cannot be read": 1,
        "precursor m/z is not that of structure and adduct": 2,
        "not a usable spectrum": 1,
    }


def test_held_out_molecules_are_left_out_however_they_are_drawn(rows):
    kept, dropped = rows(entry("a", smiles="OCC"), entry("b", smiles="C(O)([2H])C"), held_out={inchikey_block("CCO")})
    assert not kept and dropped == {"molecule held out": 2}


def test_tables(tmp_path):
    table = pd.DataFrame(
        {
            "smiles": ["OCC", "CCN", "CCS", None],
            "mzs": [[29.0]] * 4,
            "intensities": [[5.0], [5.0], [], [5.0]],
            "precursor_mz": [47.0491, None, 63.0, 47.0],
            "adduct": "[M+H]+",
            "source": "library",
            "other": 1,
        }
    )
    table.to_parquet(tmp_path / "t.parquet")
    dropped = Counter()
    (row,) = labelled_rows(tmp_path / "t.parquet", frozenset(), dropped)
    assert (row["smiles"], row["source"], row["license"]) == ("CCO", "library", None)
    assert dropped == {"no precursor m/z": 1, "no peaks": 1, "no structure given": 1}
    table.drop(columns="mzs").to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="no column mzs"):
        list(labelled_rows(tmp_path / "t.parquet", frozenset(), Counter()))


def test_held_out_molecules_from_any_file(tmp_path):
    pd.DataFrame({"inchikey": [inchikey_block("CCO") + "-UHFFFAOYSA-N"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"smiles": ["CCN"]}).to_csv(tmp_path / "b.csv")
    (tmp_path / "c.smi").write_text("CCS thiol\n\n")
    (tmp_path / "d.mgf").write_text(entry(smiles="CC=O", precursor_mz=45.0335))
    found = molecules_in(tmp_path / name for name in ("a.parquet", "b.csv", "c.smi", "d.mgf"))
    assert found == set(map(inchikey_block, ("CCO", "CCN", "CCS", "CC=O")))


@pytest.mark.parametrize(("name", "text"), [("a.csv", "name\nethanol\n"), ("b.smi", "\n"), ("c.smi", "no-molecule\n")])
def test_a_held_out_file_without_molecules_is_an_error(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        molecules_in([tmp_path / name])


def test_identity():
    assert identify("[Na+].[Cl-]").formula == "ClNa"
    assert identify("C[C@H](N)C(=O)O") == identify("CC(N)C(O)=O")
