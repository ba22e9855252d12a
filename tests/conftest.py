import os
import sys
from pathlib import Path

import pytest
import torch

import spec2mol
from spec2mol.hub.verify import expect
from spec2mol.saving import save_for_hub
from tests import builders

# pytest takes the repository root, which holds an __init__.py, for a package named as its folder (or, if that is no
# identifier, for a module `__init__`). It would import everything a second time and register other classes.
for name in (Path(__file__).parents[1].name, "__init__"):
    sys.modules.setdefault(name, spec2mol)

torch.set_num_threads(1)  # For models this small threads cost more than they save.


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference files and data sets that are no part of the repository; `SPEC2MOL_SHARED` says where they are."""
    folder = Path(os.environ.get("SPEC2MOL_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        reason = f"needs the shared data, which is not in {folder} (set SPEC2MOL_SHARED)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of a saved model, not to be changed, and what it answers."""
    folder = tmp_path_factory.mktemp("saved")
    model, processor = builders.model(), builders.processor()
    save_for_hub(model, processor, folder)
    return folder, expect(model, processor, builders.spectra(), builders.MOLECULES)
