"""Writes known_compounds.mgf: ten well-known molecules with the fragments every mass spectrometrist expects of them.

    python examples/make_known_compounds.py

These are textbook spectra, not measurements: the fragments are the ions of established fragmentation pathways, their
m/z are computed from the ion formulas, and the relative intensities are rounded, plausible values for the energy.
Where no paper is named, the pathway follows from the general rules in Demarque et al., Nat. Prod. Rep. (2016),
doi:10.1039/c5np00073d, and Holčapek et al., J. Chromatogr. A 1217 (2010) 3908.
"""

from pathlib import Path
from typing import NamedTuple

from spec2mol.chemistry_spec2mol import ADDUCTS, ELECTRON_MASS, formula_mass, precursor_mz


class Compound(NamedTuple):
    name: str
    formula: str
    adduct: str
    collision_energy: int  # eV
    fragments: dict[str, int]  # ion formula without its charge -> relative intensity, base peak 100
    pathway: str


COMPOUNDS = [
    Compound(
        "Caffeine", "C8H10N4O2", "[M+H]+", 30,
        {"C8H11N4O2": 40, "C6H8N3O": 100, "C5H8N3": 35, "C4H7N2": 20, "C3H5N2": 10, "C3H6N": 8, "C2H4N": 10},
        "loses CH3NCO (retro-Diels-Alder), then CO, then HCN",
    ),
    Compound(
        "Paracetamol", "C8H9NO2", "[M+H]+", 20,
        {"C8H10NO2": 45, "C6H8NO": 100, "C6H5O": 10, "C6H6N": 6, "C5H5": 12},
        "loses ketene to 4-aminophenol, then NH3 or H2O, then CO",
    ),
    Compound(
        "Atrazine", "C8H14ClN5", "[M+H]+", 30,
        {
            "C8H15ClN5": 35, "C5H9ClN5": 100, "C3H5ClN5": 10, "C5H8N5": 8, "C4H7ClN3": 10, "C2H3ClN3": 25,
            "C4H6N3": 20, "CH4ClN2": 10, "C3H7N2": 10, "C2H2N3": 15, "C3H7": 5,
        },
        "loses C3H6, then C2H4 or HCl; the ring opens to [ClCNC(NH)NH2 + H]+, m/z 104",
    ),
    Compound(
        "Carbamazepine", "C15H12N2O", "[M+H]+", 25,
        {"C15H13N2O": 60, "C15H10NO": 8, "C14H12N": 100, "C14H11N": 6, "C14H10N": 15, "C13H9N": 5},
        "loses HNCO to protonated iminostilbene; also NH3, then CO",
    ),
    Compound(
        "Sulfamethoxazole", "C10H11N3O3S", "[M+H]+", 25,
        {
            "C10H12N3O3S": 30, "C10H10N3O": 8, "C9H10N3": 8, "C6H6NO2S": 100, "C6H6NO": 60, "C4H7N2O": 20,
            "C6H6N": 65, "C5H5": 20,
        },
        "cleaves S-N to m/z 156, then SO and SO2 are lost: Song et al., RSC Adv. 4 (2014), doi:10.1039/c4ra07737g",
    ),
    Compound(
        "L-Tryptophan", "C11H12N2O2", "[M+H]+", 20,
        {
            "C11H13N2O2": 15, "C11H10NO2": 100, "C11H8NO": 12, "C10H11N2": 15, "C9H8NO": 75, "C10H10N": 20,
            "C10H8N": 12, "C9H10N": 20, "C9H8N": 12, "C8H8N": 40,
        },
        "loses NH3, then ketene or H2O: Lioe et al., J. Am. Soc. Mass Spectrom. 15 (2004) 65",
    ),
    Compound(
        "Adenosine", "C10H13N5O4", "[M+H]+", 25,
        {"C10H14N5O4": 15, "C5H6N5": 100, "C5H3N4": 8, "C4H4N3": 2},
        "loses the ribose (C5H8O4) to protonated adenine, then NH3 or cyanamide",
    ),
    Compound(
        "Salicylic acid", "C7H6O3", "[M-H]-", 20,
        {"C7H5O3": 40, "C6H5O": 100, "C5H5": 4},
        "loses CO2 to phenolate, then CO",
    ),
    Compound(
        "Diclofenac", "C14H11Cl2NO2", "[M-H]-", 15,
        {"C14H10Cl2NO2": 30, "C13H10Cl2N": 100, "C13H9ClN": 10, "C13H8N": 4, "Cl": 8},
        "loses CO2, then HCl twice; chloride",
    ),
    Compound(
        "Citric acid", "C6H8O7", "[M-H]-", 15,
        {"C6H7O7": 40, "C6H5O6": 8, "C5H5O4": 8, "C5H3O3": 100, "C3H3O3": 35, "C4H5O2": 30, "C4H3O": 6},
        "loses H2O and CO2 in turn",
    ),
]  # fmt: skip

# The formula helps to rank structures, but an unknown has none: only these spectra give it.
WITH_FORMULA = ("Caffeine", "Diclofenac")


def ion_mz(formula: str, charge: int) -> float:
    """m/z (Da) of an ion: its atoms, less the electrons it lacks."""
    return (formula_mass(formula) - charge * ELECTRON_MASS) / abs(charge)


def mgf_entry(feature_id: int, compound: Compound) -> str:
    _, charge, ion_mode = ADDUCTS[compound.adduct]
    lines = [
        "BEGIN IONS",
        f"TITLE={compound.name}",
        f"NAME={compound.name}",
        f"FEATURE_ID={feature_id}",
        f"PEPMASS={precursor_mz(formula_mass(compound.formula), compound.adduct):.4f}",
        f"CHARGE={abs(charge)}{'+' if charge > 0 else '-'}",
        f"IONMODE={ion_mode}",
        f"ADDUCT={compound.adduct}",
        f"COLLISION_ENERGY={compound.collision_energy} eV",
    ]
    if compound.name in WITH_FORMULA:
        lines.append(f"FORMULA={compound.formula}")
    peaks = sorted((ion_mz(formula, charge), intensity) for formula, intensity in compound.fragments.items())
    lines += [f"{mz:.4f} {intensity}" for mz, intensity in peaks]
    return "\n".join([*lines, "END IONS", ""])


def make_mgf() -> str:
    return "\n".join(mgf_entry(feature_id, compound) for feature_id, compound in enumerate(COMPOUNDS, 1))


if __name__ == "__main__":
    Path(__file__).with_name("known_compounds.mgf").write_text(make_mgf(), encoding="utf-8")
