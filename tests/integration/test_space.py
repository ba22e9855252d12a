"""The Space in a real browser: click, see structures; download; read errors as sentences."""

import io
import os
import re
import subprocess
import sys
import time
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
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"SPEC2MOL_MODEL": str(folder), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
    log = folder / "log.txt"
    with log.open("w") as output:
        command = [sys.executable, str(ROOT / "space" / "app.py")]
        app = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield address(app, log)
        assert not list(temporary.glob("*/report.html"))  # gradio's own copies lie deeper.
    finally:
        app.terminate()
        app.wait(60)


def address(app, log, seconds=600):
    """What the app says when it is ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and app.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"the app did not start:\n{log.read_text()}")


@pytest.fixture
def page(browser, space):
    """The app, opened; nothing outside of it may be asked for."""
    from selenium.webdriver.common.by import By

    browser.requests()
    browser.set_window_size(1400, 1000)
    browser.get(space)
    browser.wait("document.querySelector('#propose')", "the app is drawn")
    page = Page(browser, By.CSS_SELECTOR)
    yield page
    assert {url for url in browser.requests() if not url.startswith((space, "ws"))} <= {"about:srcdoc"}


class Page:
    def __init__(self, browser, css):
        self.browser, self.css = browser, css

    def write(self, field, text):
        self.browser.find_element(self.css, f"#{field} textarea, #{field} input").send_keys(text)

    def propose(self):
        self.browser.find_element(self.css, "#propose").click()

    def inside_report(self, script):
        """What a script gives inside of the report, once the report is drawn."""
        frame = self.browser.wait(lambda: self.browser.find_elements(self.css, "#report"), "the report is there")[0]
        self.browser.execute_script("arguments[0].scrollIntoView()", frame)  # It is drawn as it is scrolled to.
        self.browser.switch_to.frame(frame)
        try:
            self.browser.wait("document.querySelector('.best svg.structure')", "structures are drawn")
            return self.browser.execute_script(script)
        finally:
            self.browser.switch_to.default_content()

    def files(self):
        """Name and address of what can be downloaded."""
        links = "[...document.querySelectorAll('#results a[download]')].map((link) => link.href)"
        return {url.rsplit("/", 1)[1]: url for url in self.browser.wait(f"{links}.length && {links}", "downloads")}

    def error(self):
        """Text of the message on the screen."""
        script = "[...document.querySelectorAll('.toast-body')].map((node) => node.innerText).join(' ')"
        return self.browser.wait(script, "an error is shown").replace("\n", " ")


DRAWN = """return {
  count: document.getElementById('count').textContent,
  ids: [...document.querySelectorAll('.query > .row b')].map((node) => node.textContent),
  structures: document.querySelectorAll('.answer svg.structure path').length,
  peaks: document.querySelectorAll('.query:first-child .sticks line').length }"""


def test_an_example_is_answered_and_the_results_can_be_downloaded(page, tmp_path):
    page.browser.find_element("xpath", "//button[contains(., 'Caffeine')]").click()
    page.browser.wait(
        "document.querySelector('#peaks textarea').value.includes('138.0662')", "the example fills the form"
    )
    page.propose()
    drawn = page.inside_report(DRAWN)
    assert drawn["ids"] == ["pasted spectrum"]
    assert drawn["structures"] > 0 and drawn["peaks"] == 7

    files = page.files()
    assert set(files) == {"answers.tsv", "embeddings.parquet", "report.html"}
    for name, url in files.items():
        (tmp_path / name).write_bytes(urlopen(url).read())
    assert pd.read_csv(tmp_path / "answers.tsv", sep="\t")["rank"].iloc[0] == 1
    (vector,) = pd.read_parquet(tmp_path / "embeddings.parquet")["embedding"]
    assert len(vector) == builders.config().encoder_config.hidden_size


def test_a_file_is_answered(page, tmp_path):
    page.write("file", str(ROOT / "examples" / "known_compounds.mgf"))
    page.browser.wait("document.querySelector('#file').innerText.includes('known_compounds')", "the file is uploaded")
    page.propose()
    drawn = page.inside_report(DRAWN)
    assert (drawn["count"], drawn["ids"][0]) == ("10 queries", "1")


def test_several_energies_of_one_compound_are_answered_each(page, tmp_path):
    entry = "BEGIN IONS\nFEATURE_ID=17\nPEPMASS=195.0877\nADDUCT=[M+H]+\nCOLLISION_ENERGY={} eV\n{}\nEND IONS\n"
    spectra = {20: "138.0662 100\n195.0877 90", 40: "110.0713 100\n138.0662 60"}
    path = tmp_path / "energies.mgf"
    path.write_text("".join(entry.format(energy, peaks) for energy, peaks in spectra.items()))
    page.write("file", str(path))
    page.browser.wait("document.querySelector('#file').innerText.includes('energies')", "the file is uploaded")
    page.propose()
    assert page.inside_report(DRAWN)["count"] == "2 queries"
    table = pd.read_csv(io.BytesIO(urlopen(page.files()["answers.tsv"]).read()), sep="\t")
    assert list(table["query"].unique()) == ["17", "17 (2)"]
    assert list(table["feature_id"].unique()) == [17]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "There is no spectrum: upload a file, paste peaks, or click an example."),
        ({"peaks": "138.0662 100"}, "A peak list has no precursor: give its m/z."),
        ({"peaks": "138.0662 100\n110 x", "precursor": "195.1"}, "a peak is not a pair of numbers"),
        ({"peaks": "138.0662 100", "precursor": "195.1", "formula": "C8Xx"}, "Unknown element Xx in formula 'C8Xx'."),
        ({"peaks": "hello"}, "Pasted text holds no usable MS/MS spectrum"),
    ],
)
def test_errors_are_sentences(fields, sentence, page):
    for field, text in fields.items():
        page.write(field, text)
    page.propose()
    assert sentence in page.error()
