"""space/publish.py against a Hub on the loopback interface: the Space gets the app and a wheel with the model."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from space import publish

ROOT = Path(__file__).parents[2]
SPACE = "someone/spec2mol-space"


def test_the_space_gets_the_app_and_a_whole_wheel(hub, capsys):
    assert publish.main([SPACE]) == 0, capsys.readouterr().err
    files = hub.files(SPACE)
    assert files.keys() - {".gitattributes"} == {
        "README.md",
        "app.py",
        "requirements.txt",
        "spec2mol-0.1.0-py3-none-any.whl",
    }
    wheel = f"{hub.endpoint}/spaces/{SPACE}/resolve/main/spec2mol-0.1.0-py3-none-any.whl"
    assert files["requirements.txt"].decode() == f"spec2mol[demo] @ {wheel}\n"
    with zipfile.ZipFile(io.BytesIO(files["spec2mol-0.1.0-py3-none-any.whl"])) as archive:
        names = set(archive.namelist())
    assert {
        "spec2mol/checkpoints/spec2mol-small/model.safetensors",
        "spec2mol/examples/known_compounds.mgf",
        "spec2mol/report/page.html",
        "spec2mol/hub/templates/model_card.md",
        "spec2mol/simulation/weights.safetensors",
    } <= names
    assert {f"spec2mol/{path.name}" for path in ROOT.glob("*.py")} <= names
    assert not any(name.startswith(("spec2mol/tests", "spec2mol/runs")) for name in names)


def test_wrong_names_and_help(capsys):
    assert publish.main(["no-organisation"]) == 2
    assert "the Space is ORG/NAME" in capsys.readouterr().err
    done = subprocess.run([sys.executable, ROOT / "space/publish.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--dry-run" in done.stdout
