import os
import shutil

import pytest


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
