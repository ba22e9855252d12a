"""Molecules, SELFIES, formulas and adducts: the chemistry every other part of spec2mol speaks.

Notable:
- A molecule is *flat* everywhere: no stereochemistry, no isotope labels. ChemGPT never saw either.
- Two SELFIES dialects: "2.x" (current) and "1.x" (SELFIES 1.0.4, the language ChemGPT was trained in). A 2.x string
  given to ChemGPT's tokenizer breaks silently into pieces, hence the symbol map below.
- "No such molecule" is None, a wrong formula or adduct is a ValueError.
- Formulas, masses and adducts need neither rdkit nor selfies. Masses are monoisotopic, in Da; an m/z is Da per charge.
"""

import functools
import re
from typing import NamedTuple

try:
    from rdkit import Chem
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula
    from rdkit.rdBase import BlockLogs
except ImportError:
    Chem = None

try:
    import selfies
    from selfies.compatibility import modernize_symbol
except ImportError:
    selfies = None


SELFIES_DIALECTS = ("1.x", "2.x")

SPECIAL_TOKENS = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}

# Structures


def _require(module, name):
    if module is None:
        raise ImportError(f"{name} is needed to read and write molecules: pip install rdkit selfies")


@functools.lru_cache(maxsize=1024)  # One molecule is asked for its key, its formula, its fingerprint.
def flat_molecule(smiles):
    """RDKit molecule without stereochemistry and isotope labels, not to be changed by the caller; None if `smiles` is
    no molecule (so is "*")."""
    _require(Chem, "rdkit")
    with BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() == 0 or "*" in smiles:
            return None
        Chem.RemoveStereochemistry(molecule)
        if re.search(r"\[\d", smiles):
            for atom in molecule.GetAtoms():
                atom.SetIsotope(0)
            molecule = Chem.RemoveHs(molecule)  # what was [2H] is an ordinary hydrogen now
    return molecule


def canonical_smiles(smiles: str) -> str | None:
    """RDKit canonical SMILES of the flat molecule; None if `smiles` cannot be parsed."""
    molecule = flat_molecule(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def random_smiles(smiles: str, seed: int) -> str | None:
    """SMILES of the flat molecule from a random atom on, by branches in a random order: the same for the same seed.
    None if `smiles` cannot be parsed."""
    molecule = flat_molecule(smiles)
    return None if molecule is None else Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=seed)[0]


def inchikey(smiles: str) -> str | None:
    """InChIKey (27 characters) of the flat molecule; None if `smiles` cannot be parsed or has no InChI."""
    molecule = flat_molecule(smiles)
    if molecule is None:
        return None
    with BlockLogs():
        return Chem.MolToInchiKey(molecule) or None


def inchikey_block(smiles: str) -> str | None:
    """First block (14 characters) of the InChIKey: the identity of a molecule everywhere in spec2mol."""
    key = inchikey(smiles)
    return None if key is None else key[:14]


def morgan_fingerprint(smiles: str, size: int = 2048):
    """Morgan fingerprint of radius 2, `(size,)` uint8 of 0 and 1; None if `smiles` cannot be parsed."""
    molecule = flat_molecule(smiles)
    return None if molecule is None else GetMorganGenerator(radius=2, fpSize=size).GetFingerprintAsNumPy(molecule)


def molecular_formula(smiles: str) -> str | None:
    """Molecular formula in Hill order, without charge: "C5H14NO" for choline; None if `smiles` cannot be parsed."""
    molecule = flat_molecule(smiles)
    return None if molecule is None else re.sub(r"[+-]\d*$", "", CalcMolFormula(molecule))


# SELFIES

_BRACKET_ATOM = re.compile(r"\[([=#]?)([A-Z][a-z]?)(?:H(\d+))?(?:([+-])(\d+))?\]")
_SPELLED_OUT = re.compile(r"\[.*?\]|[/\\\s]")  # bracket atoms and stereo bonds of a SMILES, and what ends it
_ORGANIC_SUBSET = frozenset(["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I"])


@functools.cache
def symbol_1x(symbol):
    """SELFIES 1.0.4 spelling of one 2.x symbol; `symbol_2x` is the way back."""
    if match := re.fullmatch(r"\[([=#]?)Branch([123])\]", symbol):
        return f"[Branch{match[2]}_{1 + ['', '=', '#'].index(match[1])}]"
    if match := re.fullmatch(r"\[([=#])Ring([123])\]", symbol):
        return f"[Expl{match[1]}Ring{match[2]}]"
    match = _BRACKET_ATOM.fullmatch(symbol)
    if match is None:  # [Ring1] and "."
        return symbol
    bond, element, hydrogens, sign, charge = match.groups()
    if hydrogens is None and sign is None and element in _ORGANIC_SUBSET:
        return symbol
    # A count or charge of one is not written; H0 marks a radical of the organic subset, which "expl" does already.
    hydrogens = {None: "", "0": "", "1": "H"}.get(hydrogens, f"H{hydrogens}")
    charge = "" if sign is None else sign + ("" if charge == "1" else charge)
    return f"[{bond}{element}{hydrogens}{charge}expl]"


def symbol_2x(symbol):
    """2.x spelling of one SELFIES 1.0.4 symbol; what is no such symbol comes back as it is."""
    _require(selfies, "selfies")
    return modernize_symbol(symbol)


def _check_dialect(dialect):
    if dialect not in SELFIES_DIALECTS:
        raise ValueError(f"unknown SELFIES dialect {dialect!r}, expected one of {', '.join(SELFIES_DIALECTS)}")


def to_selfies(smiles: str, dialect: str = "2.x") -> str | None:
    """SELFIES of the flat molecule in its Kekulé form, or None if it cannot be parsed or written.

    Atom order follows `smiles`, so that randomised SMILES give randomised SELFIES; SMILES that spell atoms otherwise
    than flat RDKit SMILES do ([C@H], [13CH4], [CH3]) are made canonical first. SELFIES cannot write valences beyond
    its rules, such as hypervalent iodine. Raises ValueError for an unknown dialect.

    "1.x" is SELFIES 1.0.4 symbol for symbol, but now and then a large aromatic system comes out in another, equivalent
    Kekulé form.
    """
    _check_dialect(dialect)
    _require(selfies, "selfies")
    molecule = flat_molecule(smiles)
    if molecule is None:
        return None
    canonical = Chem.MolToSmiles(molecule)
    if sorted(_SPELLED_OUT.findall(smiles)) != sorted(_SPELLED_OUT.findall(canonical)):
        smiles = canonical
    try:
        text = selfies.encoder(smiles)
    except selfies.EncoderError:
        return None
    if dialect == "1.x":
        text = "".join(symbol_1x(symbol) for symbol in selfies.split_selfies(text))
    return text


def from_selfies(text: str, dialect: str = "2.x") -> str | None:
    """Canonical SMILES of a SELFIES string; None if it is empty, broken, or no molecule to RDKit.

    Spaces between symbols, as tokenizers put them when decoding, are ignored.
    """
    _check_dialect(dialect)
    _require(selfies, "selfies")
    try:
        symbols = selfies.split_selfies(text.replace(" ", ""))
        # The same as decoder(compatible=True), which warns at every call.
        text = "".join(symbol_2x(symbol) if dialect == "1.x" else symbol for symbol in symbols)
        smiles = selfies.decoder(text)
    except (selfies.DecoderError, ValueError):  # ValueError: a bracket that is not closed
        return None
    return canonical_smiles(smiles)


def selfies_dialect(tokenizer) -> str:
    """The dialect a SELFIES tokenizer was made for, by its vocabulary: "1.x" or "2.x"."""
    return "1.x" if "[Branch1_1]" in tokenizer.get_vocab() else "2.x"


def set_special_tokens(tokenizer):
    """Names the special tokens of a SELFIES tokenizer where they are unset ([CLS] starts, [SEP] ends a molecule), and
    returns it. Nothing is added or resized.

    ChemGPT's published tokenizer.json has all of them in its vocabulary but names none. Raises ValueError if the
    vocabulary lacks one, or if the tokenizer does not keep SELFIES symbols whole.
    """
    if tokenizer.tokenize("[C][=C]") != ["[C]", "[=C]"]:
        # AutoTokenizer makes a GPT-2 tokenizer of any tokenizer.json beside a gpt_neo config that names no class.
        raise ValueError(
            f"{type(tokenizer).__name__} breaks SELFIES symbols; load it with PreTrainedTokenizerFast.from_pretrained"
        )
    vocabulary = tokenizer.get_vocab()
    for name, token in SPECIAL_TOKENS.items():
        if getattr(tokenizer, name) is None:
            if token not in vocabulary:
                raise ValueError(f"the tokenizer has no {token} to serve as {name}")
            setattr(tokenizer, name, token)
    return tokenizer


# Formulas and masses

ELECTRON_MASS = 0.000548579909065  # Da, CODATA 2018

# Da, most abundant isotope, AME 2020
MONOISOTOPIC_MASSES = {
    "H": 1.007825031898,
    "Li": 7.01600343426,
    "B": 11.009305167,
    "C": 12.0,
    "N": 14.00307400425,
    "O": 15.99491461926,
    "F": 18.99840316207,
    "Na": 22.98976928195,
    "Si": 27.97692653442,
    "P": 30.97376199768,
    "S": 31.97207117354,
    "Cl": 34.968852694,
    "K": 38.96370648482,
    "Se": 79.916521761,
    "Br": 78.918337574,
    "I": 126.904472592,
}

_FORMULA = re.compile(r"((?:[A-Z][a-z]?(?:[1-9]\d*)?)+)(?:[+-]\d*)?")


def parse_formula(formula: str) -> dict[str, int]:
    """Element counts of a molecular formula: "C8H10N4O2" -> {"C": 8, "H": 10, "N": 4, "O": 2}.

    A trailing charge ("+", "-2") is ignored. Raises ValueError for anything else than elements and counts, and for
    elements that are not in MONOISOTOPIC_MASSES.
    """
    match = _FORMULA.fullmatch(formula)
    if match is None:
        raise ValueError(f"not a molecular formula: {formula!r}")
    counts = {}
    for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", match[1]):
        if element not in MONOISOTOPIC_MASSES:
            raise ValueError(f"unknown element {element} in formula {formula!r}")
        counts[element] = counts.get(element, 0) + int(count or 1)
    return counts


def formula_mass(formula: str) -> float:
    """Monoisotopic mass (Da) of the neutral formula; a charge sign is ignored. Raises ValueError as parse_formula."""
    return sum(MONOISOTOPIC_MASSES[element] * count for element, count in parse_formula(formula).items())


# Adducts


class Adduct(NamedTuple):
    """What ionisation does to one molecule M: m/z = (M + mass_shift) / |charge|."""

    mass_shift: float  # Da, electrons included
    charge: int  # elementary charges, with sign
    ion_mode: str  # "positive" or "negative"


# Names in adducts that are no formulas
_ADDUCT_GROUPS = {
    "ACN": "C2H3N",
    "AcOH": "C2H4O2",
    "DMSO": "C2H6OS",
    "FA": "CH2O2",
    "HAc": "C2H4O2",
    "Hac": "C2H4O2",
    "MeOH": "CH4O",
    "OAc": "C2H3O2",
    "TFA": "C2HF3O2",
}
_ADDUCT_BODY = r"(?:M|Cat)(?P<terms>(?:[+-]\d*[A-Z][A-Za-z0-9]*)*)"
_BRACKETED_ADDUCT = re.compile(rf"[\[(]{_ADDUCT_BODY}[\])](?P<before>\d*)(?P<signs>\+*|-*)(?P<after>\d*)")
_BARE_ADDUCT = re.compile(rf"{_ADDUCT_BODY}(?P<before>)(?P<signs>\+*|-*)(?P<after>)")


def _read_adduct(text):
    """(composition, charge) of an adduct: the gained (> 0) and lost (< 0) elements as a frozenset of (element, count),
    and the charge, 0 if the text gives none. Raises ValueError for anything else."""
    text = re.sub(r"[\s.*•]", "", text)  # a radical mark says nothing that the composition does not
    match = _BRACKETED_ADDUCT.fullmatch(text) or _BARE_ADDUCT.fullmatch(text)
    if match is None:
        raise ValueError(f"not an adduct: {text!r}")
    composition = {}
    for sign, count, group in re.findall(r"([+-])(\d*)([A-Z][A-Za-z0-9]*)", match["terms"]):
        for element, number in parse_formula(_ADDUCT_GROUPS.get(group, group)).items():
            composition[element] = composition.get(element, 0) + int(sign + (count or "1")) * number
    signs = match["signs"]
    charge = int(signs[0] + (match["before"] or match["after"] or str(len(signs)))) if signs else 0
    return frozenset((element, number) for element, number in composition.items() if number), charge


def _adduct(name):
    composition, charge = _read_adduct(name)
    shift = sum(MONOISOTOPIC_MASSES[element] * number for element, number in sorted(composition))
    return Adduct(shift - charge * ELECTRON_MASS, charge, "positive" if charge > 0 else "negative")


# The order is part of trained models: a condition vocabulary is made from it. Append only.
_ADDUCT_NAMES = """
    [M+H]+ [M-H]- [M]+ [M]- [M+Na]+ [M+CH3COO]- [M+HCOO]- [M-H2O+H]+ [M+NH4]+ [M+Cl]- [M+K]+ [M-CH3]- [M-2H2O+H]+
    [M+Li]+ [M+Br]- [M+I]- [M+CF3COO]- [M-H2O-H]- [M-CO2-H]- [M-NH3+H]+ [M-3H2O+H]+ [M-H2O]+ [M-H]+
    [M+2Na-H]+ [M+2K-H]+ [M+Na-2H]- [M+K-2H]- [M+ACN+H]+ [M+ACN+Na]+ [M+ACN+NH4]+ [M+CH3OH+H]+ [M+DMSO+H]+
    [M+2H]2+ [M+3H]3+ [M+H+Na]2+ [M+2Na]2+ [M+H+NH4]2+ [M-2H]2- [M-3H]3-
"""
ADDUCTS: dict[str, Adduct] = {name: _adduct(name) for name in _ADDUCT_NAMES.split()}
_ADDUCT_BY_COMPOSITION = {_read_adduct(name): name for name in ADDUCTS}


def normalize_adduct(text: str) -> str | None:
    """Key of ADDUCTS that means the same ion: "M+H", "(M+H)+" and "[M+H]1+" are "[M+H]+", "[M+FA-H]-" is "[M+HCOO]-".

    Two spellings are the same if they add and remove the same atoms and give the same charge. A charge that is not
    written is that of the first such adduct ("M-H" is "[M-H]-"); a bare "M" has none. None if unknown.
    """
    try:
        composition, charge = _read_adduct(text)
    except ValueError:
        return None
    if charge or not composition:
        return _ADDUCT_BY_COMPOSITION.get((composition, charge))
    return next((name for (atoms, _), name in _ADDUCT_BY_COMPOSITION.items() if atoms == composition), None)


def _known_adduct(name):
    if name not in ADDUCTS:
        raise ValueError(f"unknown adduct {name!r}, expected one of {', '.join(ADDUCTS)}")
    return ADDUCTS[name]


def adduct_composition(adduct: str) -> dict[str, int]:
    """Atoms that ionisation adds (> 0) or takes (< 0): "[M-H2O+H]+" -> {"H": -1, "O": -1}. Raises ValueError for an
    unknown adduct."""
    _known_adduct(adduct)
    return dict(_read_adduct(adduct)[0])


def neutral_mass(precursor_mz: float, adduct: str) -> float:
    """Mass (Da) of the molecule M whose ion `adduct` has this m/z (Da). Raises ValueError for an unknown adduct."""
    shift, charge, _ = _known_adduct(adduct)
    return precursor_mz * abs(charge) - shift


def precursor_mz(mass: float, adduct: str) -> float:
    """m/z (Da) of the ion `adduct` of a molecule of this mass (Da). Raises ValueError for an unknown adduct."""
    shift, charge, _ = _known_adduct(adduct)
    return (mass + shift) / abs(charge)


__all__ = [
    "ADDUCTS",
    "ELECTRON_MASS",
    "MONOISOTOPIC_MASSES",
    "SELFIES_DIALECTS",
    "SPECIAL_TOKENS",
    "Adduct",
    "adduct_composition",
    "canonical_smiles",
    "flat_molecule",
    "formula_mass",
    "from_selfies",
    "inchikey",
    "inchikey_block",
    "molecular_formula",
    "morgan_fingerprint",
    "neutral_mass",
    "normalize_adduct",
    "parse_formula",
    "precursor_mz",
    "random_smiles",
    "selfies_dialect",
    "set_special_tokens",
    "symbol_1x",
    "symbol_2x",
    "to_selfies",
]
