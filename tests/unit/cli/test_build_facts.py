import pandas as pd
import pytest

from spec2mol.cli.main import main


def test_a_table_with_facts(tmp_path, capsys):
    given = pd.DataFrame({"smiles": ["CCO", "C1#CC1", "CC(", "c1ccccc1"], "description": list("abcd")})
    given.to_parquet(tmp_path / "given.parquet")
    arguments = ["build-facts", str(tmp_path / "given.parquet"), str(tmp_path / "new" / "facts.parquet")]
    assert main([*arguments, "--conformers", "--processes", "1"]) == 0
    table = pd.read_parquet(tmp_path / "new" / "facts.parquet")
    assert table["description"].tolist() == ["a", "d"]
    assert table["functional_groups"].tolist() == ["an alcohol", "an aromatic ring"]
    assert [len(atoms) for atoms in table["atoms"]] == [3, 6] and table["span"].between(2, 3).all()
    printed = capsys.readouterr().out
    assert "2 molecules" in printed
    assert "left out, RDKit cannot read them: 1" in printed
    assert "left out, no conformer of them can be embedded: 1" in printed

    given[["smiles"]].to_parquet(tmp_path / "given.parquet")
    assert main([*arguments, "--limit", "1", "--processes", "1"]) == 0
    assert "atoms" not in pd.read_parquet(tmp_path / "new" / "facts.parquet")
    assert main([*arguments, "--max-atoms", "5", "--processes", "1"]) == 0
    assert "left out, more than 5 atoms: 1" in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "new" / "facts.parquet")["smiles"].tolist() == ["CCO", "C1#CC1"]
    described = pd.read_parquet(tmp_path / "new" / "facts.parquet")["description"]  # of those without one
    assert described[0].startswith("It has 0 rings. ") and described[0].endswith("Its SMILES is CCO")


@pytest.mark.parametrize("content", [None, pd.DataFrame({"name": ["ethanol"]})])
def test_wrong_tables(content, tmp_path, capsys):
    if content is not None:
        content.to_parquet(tmp_path / "given.parquet")
    assert main(["build-facts", str(tmp_path / "given.parquet"), str(tmp_path / "facts.parquet")]) == 2
    assert ("no such file" if content is None else "no column smiles, only name") in capsys.readouterr().err
