import os
import shutil

import pytest

from tests.hub_server import TOKEN, Hub


@pytest.fixture(scope="session")
def browser():
    """Chromium and its driver, as Debian packages them; where they are missing, tests are skipped and say so."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        reason = "needs a browser: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from tests.browser import Browser

    browser = Browser(chromium, driver)
    yield browser
    browser.quit()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub to which this process talks, logged in."""
    with Hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
