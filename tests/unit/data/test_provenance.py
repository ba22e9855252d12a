import pandas as pd
import pytest

from spec2mol.data.provenance import provenance, read_licence, strictest


@pytest.mark.parametrize(
    ("text", "name", "hub"),
    [
        ("CC BY", "CC BY 4.0", "cc-by-4.0"),
        ("cc-by-sa-3.0", "CC BY-SA 3.0", "cc-by-sa-3.0"),
        ("Creative Commons BY-NC-SA 4.0", "CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
        ("CC0", "CC0 1.0", "cc0-1.0"),
        ("public domain", "public domain", "cc0-1.0"),
        ("dl-de/by-2-0", "dl-de/by-2-0", "other"),
        ("Ask the author", "Ask the author", "other"),
    ],
)
def test_licences_by_their_many_spellings(text, name, hub):
    licence = read_licence(text)
    assert (licence.name, licence.hub) == (name, hub)


@pytest.mark.parametrize(
    ("licences", "joined"),
    [
        (["CC0"], "cc0-1.0"),
        (["CC0", "CC BY"], "cc-by-4.0"),
        (["CC0", "dl-de/by-2-0"], "cc-by-4.0"),
        (["CC BY", "CC BY-SA 3.0", "CC0"], "cc-by-sa-4.0"),
        (["CC BY-NC", "CC BY-SA"], "cc-by-nc-sa-4.0"),
    ],
)
def test_strictest(licences, joined):
    assert strictest(licences).hub == joined


@pytest.mark.parametrize("licences", [[], ["Ask the author"], ["CC BY-ND", "CC BY-SA"]])
def test_licences_that_cannot_be_joined(licences):
    with pytest.raises(ValueError):
        strictest(licences)


def table(tmp_path, **columns):
    path = tmp_path / "data.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_records_with_licences_of_their_own(tmp_path):
    path = table(
        tmp_path,
        identifier=["MSBNK-Lab-1", "MSBNK-Lab-2", "MSBNK-Lab-3"],
        license=["CC BY", "CC0", "CC0"],
        contributor=["Lab", "Lab", None],
    )
    assert provenance(path) == {
        "licenses": {"CC0": 2, "CC BY": 1},
        "sources": {"massbank": 3},
        "contributors": {"Lab": 2},
    }


def test_sources_with_one_licence_for_all(tmp_path):
    path = table(tmp_path, smiles=["C", "CC", "CCC"], source=["chembl_30", "coconut_fungi", "chembl_bimodal"])
    told = provenance(path)
    assert told["licenses"] == {"CC BY-SA 3.0": 2, "CC BY 4.0": 1}
    assert told["sources"] == {"chembl_30": 1, "coconut_fungi": 1, "chembl_bimodal": 1}


def test_simulated_spectra_are_named_as_what_they_are(tmp_path):
    told = provenance(table(tmp_path, smiles=["C", "CC"], identifier=["simulated-0-0", "simulated-1-0"]))
    assert told == {"licenses": {"CC BY-SA 4.0": 2}, "sources": {"simulated": 2}}


def test_nothing_told_is_nothing_said(tmp_path):
    assert provenance(table(tmp_path, smiles=["C"], identifier=["mine"])) == {}


def test_licences_of_the_training_data(shared):
    massbank = provenance(shared / "data" / "massbank" / "train.parquet")
    assert sum(massbank["licenses"].values()) == sum(massbank["contributors"].values()) == 49222
    assert strictest(massbank["licenses"]).hub == "cc-by-sa-4.0"
    molecules = provenance(shared / "data" / "molecules" / "train.parquet")
    assert sum(molecules["sources"].values()) == 539323
    assert strictest(molecules["licenses"]).hub == "cc-by-sa-4.0"
