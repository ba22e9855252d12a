import pandas as pd
import pyarrow.parquet as pq
import pytest

from spec2mol.cli import simulate
from spec2mol.cli.main import main
from spec2mol.data.examples import SPECTRUM_COLUMNS

STRUCTURES = ["O=C(O)c1ccccc1", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "not a molecule", "c1ccncc1", "C" * 70 + "O"]


@pytest.fixture
def smi(tmp_path):
    path = tmp_path / "structures.smi"
    path.write_text("\n".join(STRUCTURES))
    return path


def test_a_spectrum_for_each_structure_and_energy(smi, tmp_path, capsys):
    output = tmp_path / "sim.parquet"
    assert main(["simulate", str(smi), "--output", str(output), "--collision-energy", "10", "40"]) == 0
    table = pd.read_parquet(output)
    assert {"identifier", "smiles", "inchikey", *SPECTRUM_COLUMNS} == set(table)
    assert table["identifier"].tolist() == [f"simulated-{i}-{j}" for i in (0, 1, 3) for j in (0, 1)]
    assert table["collision_energy"].tolist() == [10, 40] * 3
    assert set(table["adduct"]) == {"[M+H]+"}
    assert pq.read_schema(output) == simulate.SCHEMA
    report = capsys.readouterr().err
    assert "6 spectra of 3 structures" in report
    assert "2 of 5 structures skipped: no single molecule, more than 64 heavy atoms" in report


def test_molecules_that_do_not_form_the_ion_are_counted(smi, tmp_path, capsys):
    output = tmp_path / "sim.parquet"
    assert main(["simulate", str(smi), "--output", str(output), "--ion-mode", "negative", "--limit", "4"]) == 0
    table = pd.read_parquet(output)
    assert table["smiles"].tolist() == ["O=C(O)c1ccccc1"]
    assert table["adduct"].tolist() == ["[M-H]-"]
    assert "2 of 4 structures skipped: they do not form the ion" in capsys.readouterr().err


def test_drawn_conditions_depend_on_the_seed_alone(smi, tmp_path, monkeypatch):
    spectra = pd.DataFrame(
        {"adduct": "[M+H]+", "collision_energy": range(1, 1001), "instrument_type": "QTOF", "precursor_mz": 200.0}
    )
    spectra.to_parquet(tmp_path / "measured.parquet")

    def energies(*options):
        command = ["simulate", str(smi), "--conditions", str(tmp_path / "measured.parquet"), *options]
        assert main([*command, "--output", str(tmp_path / "sim.parquet")]) == 0
        return pd.read_parquet(tmp_path / "sim.parquet")["collision_energy"].tolist()

    once = energies()
    assert energies() == once
    assert energies("--limit", "2") == once[:2]
    assert energies("--seed", "1") != once
    monkeypatch.setattr(simulate, "STRUCTURES_PER_WORKER", 1)
    assert energies("--workers", "2") == once


@pytest.mark.parametrize(
    "options, message",
    [
        (["--output", "sim.csv"], "the ending must be .parquet"),
        (["--output", "sim.parquet", "--conditions", "x.parquet", "--adduct", "[M+H]+"], "exclude each other"),
    ],
)
def test_errors_are_one_line(smi, options, message, capsys):
    assert main(["simulate", str(smi), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_file_without_any_molecule(tmp_path, capsys):
    path = tmp_path / "empty.smi"
    path.write_text("xyz\n")
    assert main(["simulate", str(path), "--output", str(tmp_path / "sim.parquet")]) == 2
    assert "0 spectra of 0 structures" in capsys.readouterr().err
