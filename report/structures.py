"""Drawn structures, small enough that a page may hold tens of thousands of them."""

import re
import xml.etree.ElementTree as ET

from rdkit import Chem
from rdkit.Chem.Draw.rdMolDraw2D import MolDraw2DSVG
from rdkit.rdBase import BlockLogs

_SCALE = 66  # units an Å, so that coordinates can be whole numbers: RDKit draws bonds of 1.5 Å
_SVG = "{http://www.w3.org/2000/svg}"


def draw_structure(smiles: str) -> str | None:
    """SVG element of a molecule as RDKit draws it, a tenth of the size; None if `smiles` cannot be parsed.

    The lines of one colour become one path with whole, relative coordinates. All molecules have the same scale. The
    style that all structures share is left to the page: `svg.structure`.
    """
    with BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    drawer = MolDraw2DSVG(-1, -1, -1, -1, True)  # as large as the molecule needs; atom labels as text
    options = drawer.drawOptions()
    options.scalingFactor = _SCALE
    options.fixedFontSize = 44
    options.padding = 0.05
    options.clearBackground = False
    drawer.DrawMolecule(molecule)
    drawer.FinishDrawing()
    return _compact(ET.fromstring(drawer.GetDrawingText()))


def _compact(svg: ET.Element) -> str:
    lines, rest = {}, []
    for element in svg:
        style = dict(pair.split(":", 1) for pair in element.get("style", "").split(";") if ":" in pair)
        if element.tag == _SVG + "text":
            numbers = element.get("x"), element.get("y"), style["font-size"].removesuffix("px")
            x, y, size = (round(float(number)) for number in numbers)
            rest.append(f'<text x="{x}" y="{y}" fill="{style["fill"]}" font-size="{size}">{element.text}</text>')
        elif element.tag == _SVG + "path" and style.get("fill", "none") != "none":
            rest.append(f'<path d="{element.get("d")}" fill="{style["fill"]}"/>')
        elif element.tag == _SVG + "path" and element.get("class"):  # Those without join corners: round caps do.
            lines.setdefault(style["stroke"], []).append(_relative(element.get("d")))
    paths = [f'<path d="{"".join(parts)}" stroke="{colour}"/>' for colour, parts in lines.items()]
    width, height = (round(float(side) / 4) for side in svg.get("viewBox").split()[2:])
    head = f'<svg class="structure" viewBox="{svg.get("viewBox")}" width="{width}" height="{height}">'
    return f"{head}{''.join(paths + rest)}</svg>"


def _relative(path: str) -> str:
    """ "M 10.2,20.7 L 30.1,20.7" -> "M10 21l20 0"."""
    numbers = [round(float(number)) for number in re.findall(r"-?[\d.]+", path)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    steps = ((x - last_x, y - last_y) for (last_x, last_y), (x, y) in zip(points, points[1:], strict=False))
    return f"M{points[0][0]} {points[0][1]}" + "".join(f"l{x} {y}" for x, y in steps)
