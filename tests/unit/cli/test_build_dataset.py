import pandas as pd
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from spec2mol.cli import build_dataset
from spec2mol.cli.main import main
from spec2mol.data.examples import load_examples
from tests import builders
from tests.unit.data.test_labelled import MASSBANK, entry


@pytest.fixture
def spectra(tmp_path):
    """Ethanol twice in one file, twice more in another one, ethylamine and ethanethiol."""
    (tmp_path / "mine.mgf").write_text(
        "\n".join(
            [
                entry("1"),
                entry("2", more="130.0 7"),
                entry("3", smiles="CCN", precursor_mz=46.0651),
                entry("4", smiles="CCS", precursor_mz=63.0263),
            ]
        )
    )
    (tmp_path / "again.mgf").write_text(
        entry("5").replace("100.0 5", "100.00001 50").replace("138.0662 20", "138.0662 200")
    )
    (tmp_path / "record.txt").write_text(MASSBANK)
    (tmp_path / "test.smi").write_text("SCC\n")
    return tmp_path


def build(folder, *args):
    files = [str(folder / name) for name in ("mine.mgf", "again.mgf", "record.txt")]
    held_out = ["--held-out", str(folder / "test.smi")]
    return main(["build-dataset", *files, "--output", str(folder / "out"), *held_out, *args])


def test_folder_loads_as_the_hub_would(spectra, capsys):
    assert build(spectra, "--license", "cc-by-4.0", "--name", "Two alcohols") == 0
    printed = capsys.readouterr()
    assert "4 spectra of 2 molecules" in printed.out
    assert "molecule held out: 1" in printed.err and "the same spectrum of the same molecule again: 1" in printed.err
    loaded = load_dataset(str(spectra / "out"), split="train")  # by the card's `configs`
    assert loaded["identifier"][:] == ["1", "2", "3", "MSBNK-Lab-X1"]
    assert loaded["license"][:] == ["CC BY 4.0"] * 3 + ["CC BY-SA 4.0"]


def test_card(spectra):
    build(spectra, "--license", "cc-by-4.0", "--name", "Two alcohols")
    card = DatasetCard.load(spectra / "out" / "README.md")
    assert (card.data.license, card.data.pretty_name) == ("cc-by-sa-4.0", "Two alcohols")
    assert card.data.size_categories == ["n<1K"]
    assert "4 tandem mass spectra (MS/MS) of 2 known molecules" in card.text
    assert "from mine.mgf, again.mgf, record.txt" in card.text
    assert "Molecules of test.smi (1 of them) were left out" in card.text
    assert "rows by contributor: Lab 1" in card.text and "[CC BY-SA 4.0]" in card.text


def test_licences_that_cannot_be_joined_stay_with_the_records(spectra):
    build(spectra, "--license", "in house")
    data = DatasetCard.load(spectra / "out" / "README.md").data
    assert (data.license, data.license_name) == ("other", "per-record")


def test_it_trains(spectra):
    build(spectra, "--license", "cc-by-4.0")
    (shard,) = (spectra / "out" / "data").iterdir()
    assert len(load_examples(str(shard), builders.processor())) == 4


def test_shards_are_numbered(spectra, monkeypatch):
    monkeypatch.setattr(build_dataset, "ROWS_PER_GROUP", 1)
    monkeypatch.setattr(build_dataset, "ROWS_PER_SHARD", 3)
    build(spectra, "--license", "cc-by-4.0")
    shards = sorted((spectra / "out" / "data").iterdir())
    assert [path.name for path in shards] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert [len(pd.read_parquet(path)) for path in shards] == [3, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: None, "1 has no licence: name it by --license"),
        (lambda folder: (folder / "mine.mgf").write_text(""), "mine.mgf is empty"),
        (lambda folder: (folder / "test.smi").write_text(""), "test.smi: no molecule in it"),
    ],
)
def test_errors_leave_nothing_behind(spectra, change, message, capsys):
    change(spectra)
    assert build(spectra) == 2
    assert message in capsys.readouterr().err
    assert not list(spectra.glob("out/**/*.parquet"))


def test_nothing_is_overwritten(spectra, capsys):
    assert build(spectra, "--license", "cc-by-4.0") == 0
    assert build(spectra, "--license", "cc-by-4.0") == 2
    assert "is not empty" in capsys.readouterr().err


def test_no_labels_at_all(spectra, capsys):
    (spectra / "mine.mgf").write_text(entry(smiles=""))
    out = str(spectra / "out")
    assert main(["build-dataset", str(spectra / "mine.mgf"), "--output", out, "--license", "CC0"]) == 2
    assert "no labelled spectrum left: no structure given: 1" in capsys.readouterr().err
