import subprocess
import sys
from pathlib import Path

import pytest

from spec2mol import __version__
from spec2mol.cli.main import VERBS, main


def run(*args):
    return subprocess.run([sys.executable, "-m", "spec2mol.cli.main", *args], capture_output=True, text=True)


def test_help_names_every_verb(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert "usage: spec2mol " + verb in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith(f"spec2mol {__version__}, torch ")


def test_the_version_is_the_same_everywhere():
    root = Path(__file__).parents[3]
    assert f"\nversion = {__version__}\n" in (root / "setup.cfg").read_text()
    assert f"\nversion: {__version__}\n" in (root / "CITATION.cff").read_text()


def test_errors_are_one_line_and_exit_code_2():
    done = run("predict", "no-such-file.mgf")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "spec2mol: error: no-such-file.mgf does not exist: check the path\n"
