"""A report in a real browser: it opens, filters, sorts, expands, draws, and asks the network for nothing."""

import numpy as np
import pytest

from spec2mol import Candidate
from spec2mol.chemistry_spec2mol import formula_mass, inchikey, molecular_formula, precursor_mz
from spec2mol.report import Report
from spec2mol.spectra import load_inputs

CAFFEINE, PARACETAMOL, ATRAZINE = "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CC(=O)Nc1ccc(O)cc1", "CCNc1nc(Cl)nc(NC(C)C)n1"
FRAGMENTS = {  # m/z of ions that every table of fragments lists
    CAFFEINE: [69.0447, 83.0604, 110.0713, 138.0662],
    PARACETAMOL: [65.0386, 93.0335, 110.0600],
    ATRAZINE: [68.0243, 104.0010, 132.0323, 174.0541],
}


def candidate(smiles, score):
    return Candidate(smiles, inchikey(smiles), molecular_formula(smiles), score)


def write_report(folder, number, library=None):
    """`number` queries: caffeine, paracetamol, atrazine in turn, each with one peak that is none of theirs."""
    rng = np.random.default_rng(0)
    known = list(FRAGMENTS)
    entries = []
    for i in range(number):
        smiles = known[i % 3]
        peaks = sorted([*((mz, rng.uniform(20, 100)) for mz in FRAGMENTS[smiles]), (121.5, 30)])
        lines = "".join(f"{mz:.4f} {intensity:.2f}\n" for mz, intensity in peaks)
        mz = precursor_mz(formula_mass(molecular_formula(smiles)), "[M+H]+")
        entries.append(f"BEGIN IONS\nFEATURE_ID={i + 1}\nPEPMASS={mz:.4f}\nADDUCT=[M+H]+\n{lines}END IONS\n")
    (folder / "run.mgf").write_text("".join([*entries, "BEGIN IONS\nTITLE=empty\nPEPMASS=100\nEND IONS\n"]))
    reader = load_inputs([folder / "run.mgf"])
    report = Report(folder / "report.html", "org/model", library)
    answers = [[candidate(smiles, -1.0 - known.index(smiles)) for smiles in known[i:] + known[:i]] for i in range(3)]
    answers[2] = answers[2][1:]  # To atrazine the best answer is caffeine: its mass is off.
    for i, spectrum in enumerate(reader):
        report.add(spectrum, answers[i % 3])
    report.write(reader)
    return report.path


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    (folder / "library.mgf").write_text(
        f"BEGIN IONS\nNAME=Caffeine\nSMILES={CAFFEINE}\nPEPMASS=195.0877\nADDUCT=[M+H]+\n"
        + "".join(f"{mz} 50\n" for mz in FRAGMENTS[CAFFEINE])
        + "END IONS\n"
    )
    return write_report(folder, 3, folder / "library.mgf")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("many"), 3000)


@pytest.fixture
def show(browser, request):
    """Opens a report; at the end of the test nothing may have gone wrong and nothing been loaded."""
    opened = []

    def open_report(path, height=1000, width=1400):
        browser.complaints(), browser.requests()
        browser.set_window_size(width, height)
        browser.get(path.as_uri())
        browser.wait("document.body.dataset.ready", "the report is drawn")
        opened.append(path.as_uri())

    yield open_report
    assert browser.complaints() == []
    assert browser.requests() == set(opened)


def settled(browser):
    browser.execute_script("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def shown_ids(browser):
    return browser.texts(".query > .row b")


def test_three_queries_are_drawn_in_full(browser, show, few):
    show(few, height=3600)
    browser.wait("document.querySelectorAll('.body').length === 3", "all three are open")
    assert browser.texts(".tile b")[:4] == ["3", "2", "0", "1"]
    assert "no peaks" in browser.texts("#summary table")[0]
    # Caffeine: four fragments explained, one peak not; paracetamol three and one.
    first, second, third = browser.execute_script("""return [...document.querySelectorAll('.query')].map((query) =>
      [...query.querySelectorAll('.sticks line')].map((line) => line.getAttribute('stroke')))""")
    assert [first.count("#1f5fbf"), first.count("#a3abb8")] == [4, 1]
    assert [second.count("#1f5fbf"), second.count("#a3abb8")] == [3, 1]
    assert third.count("#a3abb8") > 0
    labels = " ".join(browser.texts(".plot text"))
    assert "C₆H₈N₃O⁺" in labels and "138.0662" in labels
    assert browser.count(".best svg.structure path") > 3
    assert browser.count(".answer:not(.library)") == 3 + 3 + 2
    assert browser.texts(".best .good, .best .bad")[2].startswith("✗ +21.")  # 216.10 - 195.09
    assert browser.count("a[href='https://pubchem.ncbi.nlm.nih.gov/#query=RYYVLZVUVIJVGH']") >= 3


def test_everything_is_visible(browser, show, few):
    """Drawn is not enough: what is drawn has a size, and lies in its box."""
    show(few, height=3600)
    browser.wait("document.querySelectorAll('.body').length === 3", "all three are open")
    inside = """return [...document.querySelectorAll('.drawing, .thumb')].every((box) => {
      const [outer, inner] = [box, box.querySelector('svg')].map((node) => node.getBoundingClientRect());
      return inner.width > 20 && inner.height > 10 && inner.left >= outer.left - 1 && inner.right <= outer.right + 1
        && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1; })"""
    assert browser.execute_script(inside)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_narrow_window_squeezes_nothing(browser, show, few):
    show(few, height=3600, width=500)
    browser.wait("document.querySelectorAll('.body').length === 3", "all three are open")
    widths = browser.execute_script("""return [...document.querySelectorAll('.query > .row')].flatMap((row) =>
      [...row.children].slice(1).map((cell) => cell.getBoundingClientRect().width))""")
    assert len(widths) == 24 and min(widths) > 60
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_library_match_is_mirrored(browser, show, few):
    show(few, height=3600)
    browser.wait("document.querySelectorAll('.body').length === 3", "all three are open")
    assert browser.count(".library-sticks line") == 4
    assert "Caffeine, cosine" in browser.texts(".legend")[0]
    assert browser.texts(".library dd")[-1] == "1"  # the rank of the answer with that structure


def test_zoom_and_back(browser, show, few):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    show(few)
    browser.wait("document.querySelector('.plot .overlay')", "the first spectrum is drawn")
    count = "document.querySelector('.plot').querySelectorAll('.sticks line').length"
    overlay = browser.find_element(By.CSS_SELECTOR, ".plot .overlay")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", overlay)
    width = overlay.size["width"]
    ActionChains(browser).move_to_element_with_offset(overlay, width // 4, 0).click_and_hold().move_by_offset(
        width // 5, 0
    ).release().perform()
    browser.wait(f"{count} < 5", "fewer peaks after zooming")
    ActionChains(browser).double_click(browser.find_element(By.CSS_SELECTOR, ".plot .overlay")).perform()
    browser.wait(f"{count} === 5", "all peaks again")


def test_three_thousand_queries_are_light(browser, show, many):
    show(many)
    assert browser.texts("#count") == ["3,000 queries"]
    assert browser.count(".query") == 3000
    assert 5 < browser.count(".query .row") < 100  # Only those near the window are drawn.
    assert browser.count(".panel svg rect") > 3  # distributions
    browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    browser.wait("document.querySelector('.query:last-child .row')", "the last query is drawn when scrolled to")
    assert browser.count(".query .row") < 100
    browser.execute_script("document.querySelector('.query:last-child .row').click()")
    settled(browser)
    assert browser.count(".query:last-child .plot .sticks line") == 5
    assert browser.count(".query:last-child .body .best svg.structure path") > 0


def test_open_all_of_three_thousand(browser, show, many):
    show(many)
    browser.execute_script("document.getElementById('toggle').click()")
    browser.wait("document.querySelector('.body')", "queries open")
    assert browser.count(".body") < 20
    browser.execute_script("document.getElementById('toggle').click()")
    browser.wait("!document.querySelector('.body') && document.querySelector('.row .thumb')", "queries close")


def test_filter_and_sort(browser, show, many):
    from selenium.webdriver.common.by import By

    show(many)
    search = browser.find_element(By.ID, "search")
    search.send_keys("C8H14ClN5")  # Two of three queries have atrazine among their answers.
    browser.wait("document.getElementById('count').textContent === '2,000 of 3,000 queries'", "filtered by formula")
    search.clear()
    search.send_keys("2718")
    browser.wait("document.getElementById('count').textContent.startsWith('1 of')", "filtered by id")
    browser.wait("document.querySelector('.query .row b')?.textContent === '2718'", "the query is drawn")
    search.clear()
    search.send_keys("nothing like it")
    browser.wait("document.querySelector('.none')", "an empty list says so")
    browser.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", search)

    browser.find_element(By.ID, "fits").click()
    browser.wait("document.getElementById('count').textContent === '2,000 of 3,000 queries'", "filtered by mass")
    browser.find_element(By.ID, "fits").click()

    header = {button.text: button for button in browser.find_elements(By.CSS_SELECTOR, "#columns button")}
    header["precursor"].click()
    settled(browser)
    assert shown_ids(browser)[:2] == ["2", "5"]  # paracetamol is the lightest
    header["precursor"].click()
    settled(browser)
    assert shown_ids(browser)[:2] == ["3", "6"]
    header["score"].click()
    settled(browser)
    assert shown_ids(browser)[:2] == ["1", "3"]  # caffeine has the highest score
