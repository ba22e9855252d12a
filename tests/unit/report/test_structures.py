import re
import xml.etree.ElementTree as ET

from spec2mol.report.structures import draw_structure

CAFFEINE = "Cn1c(=O)c2c(ncn2C)n(C)c1=O"


def test_a_bond_is_a_line_or_two_and_a_hetero_atom_a_letter():
    svg = ET.fromstring(draw_structure(CAFFEINE))
    black = next(path for path in svg.iter("path") if path.get("stroke") == "#000000")
    assert black.get("d").count("M") >= 12
    assert sorted(text.text for text in svg.iter("text")) == ["N"] * 4 + ["O"] * 2


def test_everything_lies_in_the_view_box():
    for smiles in (CAFFEINE, "C", "[Na+].[O-]C#N", "CCCCCCCCCCCCCCCCCC(=O)O"):
        svg = ET.fromstring(draw_structure(smiles))
        _, _, width, height = map(float, svg.get("viewBox").split())
        for path in svg.iter("path"):
            for subpath in filter(None, path.get("d").split("M")):
                steps = [tuple(map(int, pair.split())) for pair in subpath.split("l")]
                for i in range(len(steps)):
                    x, y = (sum(column) for column in zip(*steps[: i + 1], strict=True))
                    assert 0 <= x <= width and 0 <= y <= height


def test_one_scale_for_all():
    """Every C-C bond of a chain has the same length, in a small molecule and in a large one."""
    lengths = []
    for smiles in ("CCCC", "CCCCCCCCCCCC"):
        d = ET.fromstring(draw_structure(smiles)).find("path").get("d")
        steps = [tuple(map(int, step)) for step in re.findall(r"l(-?\d+) (-?\d+)", d)]
        lengths += [(x * x + y * y) ** 0.5 for x, y in steps]
    assert len(lengths) == 14 and max(lengths) - min(lengths) < 4  # Coordinates are rounded to integers.


def test_small_enough_for_tens_of_thousands():
    assert len(draw_structure("CC(C)CCCC(C)C1CCC2C3CC=C4CC(O)CCC4(C)C3CCC12C")) < 1000


def test_no_molecule_no_drawing():
    assert draw_structure("C1CC") is None
