"""The Space in a real browser: click, see structures; download; read errors as sentences."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import urlopen

import pandas as pd
import pytest

from spec2mol.saving import save_for_hub
from tests import builders

pytest.importorskip("gradio", reason="the Space needs the extra `demo`")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """Address of the running app, with a tiny model."""
    folder = tmp_path_factory.mktemp("model")
    save_for_hub(*builders.trained(steps=60), folder)
    environment = os.environ | {"SPEC2MOL_MODEL": str(folder), "GRADIO_SERVER_PORT": "0", "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, str(ROOT / "space" / "app.py")]
        app = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
        try:
            yield address(app, output)
        finally:
            app.terminate()
            app.wait(30)


def address(app, output, seconds=180):
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end and app.poll() is None:
        output.seek(0)
        if found := re.search(r"http://127\.0\.0\.1:\d+", output.read()):
            return found[0]
        time.sleep(0.2)
    output.seek(0)
    raise AssertionError(f"the app did not start:\n{output.read()}")
