"""Generation of SELFIES of a given molecular formula, as a transformers `LogitsProcessor`.

Notable:
- Every row of a batch is one derivation of the SELFIES grammar, followed symbol by symbol as `selfies.decoder` derives
  it: branches and rings, the index symbols behind them (digits to the base 16, no atoms), bonds left at every atom.
- Allowed is the language that `selfies.encoder` writes, in which the decoder never has to help itself: no symbol that
  it would skip, no bond that it would cap, no ring that it would drop, no branch without continuation. Every molecule
  has a spelling in it, and what a symbol does is known when it is read.
- A symbol is allowed if bounds on atoms, charge, bonds and unsaturation do not rule out that the formula can still be
  reached. These bounds are necessary, not sufficient: a derivation may still end up dead. It then gets the unknown
  token and the end, which decode to no molecule. (A further bound, on the bonds still missing at bracket atoms, was
  tried: it spares so few derivations that it is not there.)
- All rows advance together in numpy; there is no Python loop over rows or tokens.

Bookkeeping of hydrogens: with valence V, bond orders B between heavy atoms, N heavy atoms and H hydrogens,
sum(V) = 2 B + H in a molecule without radicals, and B = N - 1 + extra, where extra counts rings and multiple bonds.
So `excess` = sum(V) - 2 (N - 1) - H - 2 extra, over the atoms written so far, has to end at 0. V is the lowest valence
that the present bonds allow (S: 2, 4 or 6), and charges are subtracted from it, since their sum is known.

Two habits of chemistry sharpen the bounds. S, P and Se are hypervalent by their own multiple bonds (sulfones,
phosphates), or by halogens (SF5), or once for each P (phosphoranes). Positive charges sit on N, P, S and Se, unless
the molecule is a cation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from transformers import LogitsProcessor

from .chemistry_spec2mol import parse_formula, selfies_dialect, symbol_1x, symbol_2x

try:
    import selfies
    from selfies.constants import INDEX_ALPHABET
except ImportError:
    selfies = None

MAX_BONDS = 8  # of one atom, the most that SELFIES knows
BASE = 16  # of the numbers that index symbols write
UNLIMITED = 1 << 20  # tokens left at the top level
LEAST = np.array([0, 0, BASE, BASE**2])  # number with so many digits
BRANCH, RING = 1, 2

# What a row waits for: the first atom of the molecule or of a branch; anything, behind an atom; the chain's next atom,
# behind a branch; digits; nothing, because it has ended; a way out, because it is dead (first the unknown token, then
# the end); anything, because it has no formula.
FIRST, ANY, NEXT, DIGIT, ENDED, DEAD, BURIED, FREE = range(8)

_ATOM = re.compile(r"\[([=#]?)([A-Z][a-z]?)(?:H(\d))?([+-]\d)?\]")
_STRUCTURE = re.compile(r"\[([=#]?)(Branch|Ring)([123])\]")
_KINDS = {"Branch": BRANCH, "Ring": RING}
_BOND_ORDERS = {"": 1, "=": 2, "#": 3}
_OUTER_ELECTRONS = {"Li": 1, "Na": 1, "K": 1, "B": 3, "C": 4, "Si": 4, "N": 5, "P": 5, "O": 6, "S": 6, "Se": 6}
_OUTER_ELECTRONS |= {"F": 7, "Cl": 7, "Br": 7, "I": 7}
_HYPERVALENT = {"Si", "P", "S", "Se"}
_CATIONIC = {"N", "P", "S", "Se"}
_ORGANIC = {"B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I"}  # written without brackets: hydrogens fill up


def valences(element: str, charge: int = 0) -> tuple[int, ...]:
    """Sums of bond orders, hydrogens included, of an atom without unpaired electrons: S -> (2, 4, 6), N+ -> (4,).
    As in RDKit, an ion binds as the neutral atom with as many outer electrons; but halogens keep the octet."""
    electrons = _OUTER_ELECTRONS[element] - charge
    if electrons <= 4:
        return (electrons,)
    return tuple(range(8 - electrons, electrons + 1, 2)) if element in _HYPERVALENT else (8 - electrons,)


class FormulaConstraint(LogitsProcessor):
    """
    Allows only SELFIES whose molecule has the formula of its row, for `generate(..., logits_processor=[constraint])`
    with greedy decoding, sampling or beams.

    Args:
        tokenizer: of SELFIES, of either dialect; the molecule begins behind its start token.
        formulas: one for each prompt, such as "C8H10N4O2" or, with the charge of the molecule, "C5H14NO+"; None leaves
            the rows of a prompt free. Several rows of one prompt (beams, samples) follow each other, as `generate`
            puts them.

    Raises:
        ValueError: a formula that no molecule has or that the vocabulary cannot write; says why.
    """

    def __init__(self, tokenizer, formulas: Sequence[str | None]):
        self.start_token_id = tokenizer.bos_token_id
        self.prompts = self.derivations = Derivations(tokenizer, formulas)
        self.ids = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        ids = input_ids.cpu().numpy()
        parents = self._parents(ids)
        if parents is None:
            self._read_from_start(ids)
        else:
            self.derivations = self.derivations.select(parents)
            self.derivations.advance(ids[:, -1])
        self.ids = ids
        return self.derivations.constrain(scores)

    def _parents(self, ids):
        """Row of the last step that each row continues, since beam search reorders the beams of a prompt; None if this
        is another text."""
        if self.ids is None or self.ids.shape != (len(ids), ids.shape[1] - 1):
            return None
        if np.array_equal(ids[:, :-1], self.ids):
            return np.arange(len(ids))
        beams = len(ids) // len(self.prompts)
        rows = {(row // beams, prefix.tobytes()): row for row, prefix in enumerate(self.ids)}
        parents = [rows.get((row // beams, prefix.tobytes())) for row, prefix in enumerate(ids[:, :-1])]
        return None if None in parents else np.array(parents)

    def _read_from_start(self, ids):
        if len(ids) % len(self.prompts):
            raise ValueError(f"{len(ids)} rows cannot be shared among {len(self.prompts)} formulas")
        is_start = ids == self.start_token_id
        if not is_start.any(1).all() or len(set(is_start.argmax(1))) > 1:
            raise ValueError("every prompt must have its start token, at the same place")
        prompt_of_row = np.arange(len(ids)) // (len(ids) // len(self.prompts))
        self.derivations = self.prompts.select(prompt_of_row)
        for column in ids[:, is_start[0].argmax() + 1 :].T:
            self.derivations.advance(column)


def read_formula(formula: str) -> tuple[dict[str, int], int, int]:
    """(counts of all other elements, hydrogens, charge): "C5H14NO+" -> ({"C": 5, "N": 1, "O": 1}, 14, 1).

    Raises ValueError as `parse_formula`."""
    counts = parse_formula(formula)
    sign, size = re.search(r"([+-]?)(\d*)$", formula).groups()
    return counts, counts.pop("H", 0), int(sign + (size or "1")) if sign else 0


def number_of_electrons(heavy: dict[str, int], hydrogens: int, charge: int) -> int:
    """Outer electrons of what `read_formula` returns."""
    return sum(_OUTER_ELECTRONS[element] * count for element, count in heavy.items()) + hydrogens - charge


class Vocabulary:
    """Tables of the SELFIES symbols of a tokenizer.

    Atom symbols of the given elements have columns `atom_*` `(atoms,)`: token id, index of the element, order of the
    bond before it, most bonds to heavy atoms, hydrogens, charge; and tables `(atoms, bonds)` for so many bonds: the
    valence less the charge, and the bonds that are missing to a closed shell. `element_*` `(elements,)` is the best
    that any symbol of an element offers.
    """

    def __init__(self, tokenizer, elements: Sequence[str]):
        if selfies is None:
            raise ImportError("selfies is needed to constrain the formula: pip install selfies")
        ids = tokenizer.get_vocab()
        if selfies_dialect(tokenizer) == "1.x":
            ids = {symbol_2x(token): i for token, i in ids.items() if symbol_1x(symbol_2x(token)) == token}
        self.size = len(tokenizer)
        self.end_id, self.unknown_id = tokenizer.eos_token_id, tokenizer.unk_token_id
        self.digit_ids = np.array([ids[symbol] for symbol in INDEX_ALPHABET])
        self.digit = np.full(self.size, -1)
        self.digit[self.digit_ids] = np.arange(BASE)

        self.structure = np.zeros((self.size, 3), np.int64)  # kind, bond order, digits that follow
        self.atom = np.full(self.size, -1)
        atoms = []
        for symbol, i in sorted(ids.items(), key=lambda item: item[1]):
            if match := _STRUCTURE.fullmatch(symbol):
                self.structure[i] = _KINDS[match[2]], _BOND_ORDERS[match[1]], int(match[3])
            elif (match := _ATOM.fullmatch(symbol)) and match[2] in elements and match[2] in _OUTER_ELECTRONS:
                if atom := _read_atom(*match.groups()):
                    self.atom[i] = len(atoms)
                    atoms.append((i, elements.index(match[2]), *atom))
        self.structure_ids = np.flatnonzero(self.structure[:, 0])
        numbers = np.array([atom[:6] for atom in atoms], np.int64).reshape(-1, 6).T
        self.atom_ids, self.atom_element, self.atom_order, self.atom_bonds, self.atom_hydrogens, self.atom_charge = (
            numbers
        )
        tables = np.array([atom[6:] for atom in atoms], np.int64).reshape(-1, 2, MAX_BONDS + 1)
        self.valence, self.missing = tables[:, 0], tables[:, 1]
        self.lowest_valence = self.valence[:, 0]
        self.rise = self.valence[np.arange(len(atoms)), self.atom_bonds] - self.lowest_valence
        # Rows: what molecules without positive net charge may hold, and cations
        carriers = np.array([element in _CATIONIC for element in elements], bool)
        self.usable = np.stack([(self.atom_charge <= 0) | carriers[self.atom_element], np.ones(len(atoms), bool)])

        def best(values):
            result = np.full((2, len(elements)), -UNLIMITED)
            for row, usable in zip(result, self.usable, strict=True):
                np.maximum.at(row, self.atom_element[usable], values[usable])
            return result

        self.element_valence = best(self.lowest_valence)
        # Twice the slots that an atom adds, less what its valence adds to excess, its charge apart.
        self.element_slots = best(self.lowest_valence + self.rise - 2 * self.atom_hydrogens - 4)
        self.element_order = best(self.atom_order)
        self.element_charges = -best(-self.atom_charge), best(self.atom_charge)


def _read_atom(bond, element, hydrogens, charge):
    """Order of the bond before it, most bonds to heavy atoms, hydrogens, charge, valences less charge, missing bonds;
    None for an atom that no molecule has."""
    order, h, q = _BOND_ORDERS[bond], int(hydrogens or 0), int(charge or 0)
    capacities = selfies.get_semantic_constraints()
    capacity = capacities.get(element + (charge or ""), capacities["?"])
    fills_up = element in _ORGANIC and hydrogens is None and charge is None
    closed_shells = [v for v in valences(element, q) if h <= v <= capacity]
    if not closed_shells:
        return None
    bonds = closed_shells[-1] - h
    if order > max(bonds, 1):
        return None
    lowest = [next((v for v in closed_shells if v >= b + h), closed_shells[-1]) for b in range(MAX_BONDS + 1)]
    missing = [0 if fills_up else max(v - h - b, 0) for b, v in enumerate(lowest)]
    return order, bonds, h, q, [v - q for v in lowest], missing


class Derivations:
    """Partial molecules, one for each row, and what may follow.

    Arrays `(rows, ...)`: whether the molecule is a `cation`; `left` atoms of each element, `charge` and `hydrogens`
    left to write; `excess`, and the most that it may become by hypervalence, `ceiling`; bonds `missing` at bracket
    atoms; of each atom the `symbol`, its `bonds`, how many of these are `multiple` (beyond the first of two atoms),
    those still `free`, and whether the present atom is `bonded` to it; the stack of open chains, each with its last
    `atom` and the `tokens` left in its branch, and its `depth`. A chain that waits for the
    end of a branch keeps one bond in reserve, because it has to go on.

    Slots, in the bounds, are the bonds that open chains offer. Each atom to come takes one and brings all but one of
    its own; each ring or multiple bond takes at least one. They are counted twice, as `excess` counts extra.
    """

    def __init__(self, tokenizer, formulas: Sequence[str | None]):
        targets = [({}, 0, 0) if formula is None else read_formula(formula) for formula in formulas]
        elements = sorted({element for heavy, _, _ in targets for element in heavy})
        self.vocabulary = vocabulary = Vocabulary(tokenizer, elements)
        writable = {elements[i] for i in vocabulary.atom_element}
        for formula, (heavy, hydrogens, charge) in zip(formulas, targets, strict=True):
            if formula is not None:
                _check_formula(formula, heavy, hydrogens, charge, writable)
        rows = len(targets)
        self.left = np.zeros((rows, len(elements)), np.int64)
        for row, (heavy, _, _) in enumerate(targets):
            for element, count in heavy.items():
                self.left[row, elements.index(element)] = count
        self.hydrogens = np.array([hydrogens for _, hydrogens, _ in targets], np.int64)
        self.charge = np.array([charge for _, _, charge in targets], np.int64)
        total = self.left.sum(1)
        self.excess = self.charge - 2 * (total - 1) - self.hydrogens
        self.cation = (self.charge > 0).astype(np.int64)
        self.ceiling = self.excess + [2 * _hypervalent_by_single_bonds(heavy) for heavy, _, _ in targets]
        self.missing = np.zeros(rows, np.int64)
        size = max(total.max(initial=0), 1)
        self.count = np.zeros(rows, np.int64)
        self.symbol = np.zeros((rows, size), np.int64)
        self.bonds = np.zeros((rows, size), np.int64)
        self.multiple = np.zeros((rows, size), np.int64)
        self.free = np.zeros((rows, size), np.int64)
        self.bonded = np.zeros((rows, size), bool)
        self.depth = np.zeros(rows, np.int64)
        self.atom = np.zeros((rows, size // 2 + 2), np.int64)  # Every open chain has two atoms to come at least.
        self.tokens = np.full(self.atom.shape, UNLIMITED)
        self.phase = np.array([FREE if formula is None else FIRST for formula in formulas])
        # The branch or ring whose digits are read; `order` is also that of the bond to a branch's first atom.
        self.kind, self.digits, self.value = np.zeros((3, rows), np.int64)
        self.order = np.ones(rows, np.int64)
        self.choices = np.zeros((rows, BASE**2 if 4 * size <= BASE**2 else BASE**3), bool)  # numbers they may write
        self.allowed = self._allowed()
        if (dead := np.flatnonzero(self.phase == DEAD)).size:
            raise ValueError(f"formula {formulas[dead[0]]}: no molecule that the vocabulary writes has it")

    def __len__(self):
        return len(self.phase)

    def select(self, rows: np.ndarray) -> "Derivations":
        """A copy of these rows, in this order; a row may be taken several times."""
        taken = object.__new__(Derivations)
        taken.__dict__ = {name: x if name == "vocabulary" else x[rows] for name, x in self.__dict__.items()}
        return taken

    def constrain(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(rows, vocabulary)` with -inf for what is not allowed."""
        allowed = np.zeros(scores.shape, bool)  # A model's vocabulary may be padded.
        allowed[:, : self.allowed.shape[1]] = self.allowed
        allowed[(self.phase == ENDED) | (self.phase == FREE)] = True
        scores = scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        lost = np.flatnonzero((self.phase == DEAD) | (self.phase == BURIED))
        if len(lost):  # Beams that still live must win.
            scores[lost] = scores[lost].where(scores[lost].isneginf(), torch.full_like(scores[lost], -1e9))
        return scores

    # Reading symbols

    def advance(self, ids: np.ndarray):
        """Reads one token of each row. What was not allowed kills the row, as beam search does to beams that have no
        other way."""
        v = self.vocabulary
        alive = self.phase <= DIGIT
        self.phase[(self.phase == DEAD) & (ids == v.unknown_id)] = BURIED
        self.phase[alive & ~self.allowed[np.arange(len(self)), ids]] = DEAD
        alive &= self.phase <= DIGIT
        reads_digit = self.phase == DIGIT
        self.phase[alive & (ids == v.end_id)] = ENDED
        structures = np.flatnonzero(alive & ~reads_digit & (v.structure[ids, 0] > 0))
        atoms = np.flatnonzero(alive & ~reads_digit & (v.atom[ids] >= 0))
        digits = np.flatnonzero(alive & reads_digit)
        self._read_structures(structures, v.structure[ids[structures]])
        self.tokens[np.arange(len(self)), self.depth] -= 1
        self._read_atoms(atoms, v.atom[ids[atoms]])
        self._read_digits(digits, v.digit[ids[digits]])
        self.allowed = self._allowed()

    def _read_atoms(self, r, symbol):
        v, first, depth = self.vocabulary, self.phase[r] == FIRST, self.depth[r]
        root = first & (depth == 0)
        order = np.where(root, 0, v.atom_order[symbol])
        parent = np.where(first, self.atom[r, np.maximum(depth - 1, 0)], self.atom[r, depth])
        bound = ~first  # That of a branch's first atom was made when the branch opened.
        self._bind(r[bound], parent[bound], order[bound])
        self._spend(r[bound], order[bound] - 1)

        new = self.count[r]
        self.count[r] += 1
        multiple = np.maximum(order - 1, 0)
        self.symbol[r, new], self.bonds[r, new], self.multiple[r, new] = symbol, order, multiple
        self.free[r, new] = v.atom_bonds[symbol] - order
        self.bonded[r] = False
        self.bonded[r[~root], parent[~root]] = True
        self.left[r, v.atom_element[symbol]] -= 1
        self.hydrogens[r] -= v.atom_hydrogens[symbol]
        self.charge[r] -= v.atom_charge[symbol]
        self.excess[r] += v.valence[symbol, order]
        self.ceiling[r] += v.lowest_valence[symbol] + np.minimum(2 * multiple, v.rise[symbol])
        self.missing[r] += v.missing[symbol, order]
        self.atom[r, depth] = new
        self.phase[r] = ANY
        self._close_branches(r)

    def _read_structures(self, r, structure):
        self.kind[r], self.order[r], self.digits[r] = structure.T
        self.value[r] = 0
        self.choices[r] = False
        present = self._present(r)
        numbers = np.arange(self.choices.shape[1])
        if (branch := structure[:, 0] == BRANCH).any():
            rows = np.flatnonzero(branch)
            lengths = self._branch_lengths(present.of(rows), self.order[r[rows]], self.digits[r[rows]])
            self.choices[r[rows]] = lengths
        if not branch.all():
            rows = np.flatnonzero(~branch)
            partners = self._ring_partners(present.of(rows), self.order[r[rows]], self.digits[r[rows]])
            partner = present.atom[rows, None] - 1 - numbers
            self.choices[r[rows]] = (partner >= 0) & np.take_along_axis(partners, np.maximum(partner, 0), 1)
        self.phase[r] = DIGIT

    def _read_digits(self, r, digit):
        self.value[r] = BASE * self.value[r] + digit
        self.digits[r] -= 1
        r = r[self.digits[r] == 0]
        rings, branches = r[self.kind[r] == RING], r[self.kind[r] == BRANCH]

        present = self.atom[rings, self.depth[rings]]
        partner, order = present - 1 - self.value[rings], self.order[rings]
        self._bind(rings, present, order)
        self._bind(rings, partner, order)
        self._spend(rings, order)
        self.bonded[rings, partner] = True
        self.phase[rings] = ANY
        self._close_branches(rings)

        present, order = self.atom[branches, self.depth[branches]], self.order[branches]
        self._bind(branches, present, order)
        self._spend(branches, order - 1)
        self.free[branches, present] -= 1
        self.tokens[branches, self.depth[branches]] -= self.value[branches] + 1
        self.depth[branches] += 1
        self.tokens[branches, self.depth[branches]] = self.value[branches] + 1
        self.phase[branches] = FIRST

    def _bind(self, r, atom, order):
        v, symbol, bonds = self.vocabulary, self.symbol[r, atom], self.bonds[r, atom]
        self.excess[r] += v.valence[symbol, bonds + order] - v.valence[symbol, bonds]
        self.missing[r] += v.missing[symbol, bonds + order] - v.missing[symbol, bonds]
        rise, multiple = v.rise[symbol], self.multiple[r, atom]
        self.ceiling[r] += np.minimum(2 * (multiple + order - 1), rise) - np.minimum(2 * multiple, rise)
        self.bonds[r, atom] += order
        self.multiple[r, atom] += order - 1
        self.free[r, atom] -= order

    def _spend(self, r, extra):
        self.excess[r] -= 2 * extra
        self.ceiling[r] -= 2 * extra

    def _close_branches(self, r):
        r = r[(self.depth[r] > 0) & (self.tokens[r, self.depth[r]] == 0)]
        self.depth[r] -= 1
        self.free[r, self.atom[r, self.depth[r]]] += 1
        self.phase[r] = NEXT

    # What may follow

    def _allowed(self):
        """`(rows, vocabulary)`; rows that can go nowhere are marked dead."""
        v = self.vocabulary
        allowed = np.zeros((len(self), v.size), bool)
        r = np.flatnonzero(self.phase <= NEXT)
        if len(r):
            p = self._present(r)
            allowed[r[:, None], v.atom_ids] = self._next_atoms(p)
            allowed[r, v.end_id] = (self.phase[r] == ANY) & (p.depth == 0) & p.complete()
            # Each branch or ring symbol with each row that has the bonds, atoms and tokens for it
            kind, order, digits = v.structure[v.structure_ids].T
            least = LEAST[digits]
            room = p.tokens[:, None] > digits
            ring = room & (kind == RING) & (self.phase[r] == ANY)[:, None] & (p.free[:, None] >= order)
            ring &= p.atom[:, None] > least
            branch = room & (kind == BRANCH) & (self.phase[r] != FIRST)[:, None] & (p.free[:, None] > order)
            branch &= ((p.atoms - p.depth)[:, None] >= 2) & (p.tokens[:, None] > digits + least + 2)
            for possible, follow in ((ring, self._ring_partners), (branch, self._branch_lengths)):
                rows, symbols = possible.nonzero()
                ids = v.structure_ids[symbols]
                _, order, digits = v.structure[ids].T
                allowed[r[rows], ids] = follow(p.of(rows), order, digits).any(1)
        r = np.flatnonzero(self.phase == DIGIT)
        if len(r):
            allowed[r[:, None], v.digit_ids] = self._next_digits(r)
        self.phase[(self.phase <= DIGIT) & ~allowed.any(1)] = DEAD
        allowed[self.phase == DEAD, v.unknown_id] = True
        allowed[self.phase == BURIED, v.end_id] = True
        return allowed

    def _present(self, r) -> "Present":
        v, depth = self.vocabulary, self.depth[r]
        started = self.phase[r] != FIRST
        atom = np.where(started, self.atom[r, depth], 0)
        symbol, bonds = self.symbol[r, atom], self.bonds[r, atom]
        chains = np.arange(depth.max(initial=0))
        waits = chains < depth[:, None]
        waiting = np.where(waits, self.atom[r][:, chains], 0)
        offered = (waits * (self.free[r[:, None], waiting] + 1)).sum(1)
        waiting_missing = waits * v.missing[self.symbol[r[:, None], waiting], self.bonds[r[:, None], waiting]]
        steps = np.minimum(bonds[:, None] + np.arange(4), MAX_BONDS)
        rise, multiple = v.rise[symbol][:, None], self.multiple[r, atom][:, None] + np.array([0, 0, 1, 2])
        rises = np.minimum(2 * multiple, rise)
        left, cation = self.left[r], self.cation[r]
        return Present(
            row=r,
            atom=atom,
            started=started,
            depth=depth,
            tokens=self.tokens[r, depth],
            atoms=left.sum(1),
            free=started * self.free[r, atom],
            charge=self.charge[r],
            excess=self.excess[r],
            ceiling=self.ceiling[r] + (left * v.element_valence[cation]).sum(1),
            slots=2 * (offered + self.charge[r]) + (left * v.element_slots[cation]).sum(1),
            missing=self.missing[r],
            settled=self.missing[r] - waiting_missing.sum(1) - started * v.missing[symbol, bonds],
            valence_steps=started[:, None] * (v.valence[symbol[:, None], steps] - v.valence[symbol, bonds][:, None]),
            missing_steps=started[:, None] * v.missing[symbol[:, None], steps],
            ceiling_steps=started[:, None] * (rises - rises[:, :1]),
        )

    def _next_atoms(self, p):
        """`(rows, atom symbols)`"""
        v, inside, cation = self.vocabulary, p.depth > 0, self.cation[p.row]
        order, element = v.atom_order, v.atom_element
        first, root = ~p.started[:, None], (~p.started & ~inside)[:, None]
        bonds = np.where(root, 0, order)
        free = v.atom_bonds - bonds
        extra = np.where(first, 0, order - 1)
        left, tokens = p.atoms - 1, p.tokens - 1
        last = inside & (tokens == 0)
        symbols = np.arange(len(order))
        own_missing = v.missing[symbols, bonds]
        charge = p.charge[:, None] - v.atom_charge
        excess = p.excess[:, None] + p.valence_steps[:, order] + v.valence[symbols, bonds] - 2 * extra
        ceiling = p.ceiling[:, None] - v.element_valence[cation][:, element] + p.ceiling_steps[:, order] - 2 * extra
        ceiling += v.lowest_valence + np.minimum(2 * np.maximum(bonds - 1, 0), v.rise)
        slots = p.slots[:, None] - v.element_slots[cation][:, element]
        slots += 2 * (free * ~last[:, None] - v.atom_charge)
        settled = p.settled[:, None] + p.missing_steps[:, order] + own_missing * last[:, None]
        missing = p.missing[:, None] + p.missing_steps[:, order] - p.missing_steps[:, :1] + own_missing
        complete = (left == 0)[:, None] & (excess == 0) & (charge == 0) & (missing == 0)
        lowest, highest = (
            (self.left[p.row] * of[cation]).sum(1, keepdims=True) - of[cation][:, element] for of in v.element_charges
        )
        return (
            v.usable[cation]
            & (self.left[p.row][:, element] > 0)
            & np.where(first, order == self.order[p.row, None], order <= p.free[:, None])
            & (v.atom_hydrogens <= self.hydrogens[p.row, None])
            & (charge >= lowest)
            & (charge <= highest)
            & (slots >= excess)
            & (ceiling >= 2 * settled)
            & (ceiling >= 0)
            & (left >= p.depth)[:, None]
            & (free >= 0)
            & ((free > 0) | np.where(inside[:, None], last[:, None], complete))
            & (~inside[:, None] | fits(tokens[:, None], (left - p.depth)[:, None], ceiling // 2))
        )

    def _ring_partners(self, p, order, digits):
        """`(rows, atoms)` to which the present atom may close a ring, by a symbol of this order and digits."""
        v, inside = self.vocabulary, p.depth > 0
        symbol, bonds = self.symbol[p.row], self.bonds[p.row]
        number = p.atom[:, None] - 1 - np.arange(symbol.shape[1])
        bonds_after = np.minimum(bonds + order[:, None], MAX_BONDS)
        free, tokens = p.free - order, p.tokens - 1 - digits
        last = inside & (tokens == 0)
        waits = np.zeros(symbol.shape, bool)
        for depth in range(p.depth.max(initial=0)):
            rows = np.flatnonzero(depth < p.depth)
            waits[rows, self.atom[p.row[rows], depth]] = True
        own = np.arange(len(p.row)), order
        multiple, rise = self.multiple[p.row], v.rise[symbol]
        partner_missing = v.missing[symbol, bonds_after] - v.missing[symbol, bonds]
        excess = p.excess + p.valence_steps[own] - 2 * order
        excess = excess[:, None] + v.valence[symbol, bonds_after] - v.valence[symbol, bonds]
        ceiling = (p.ceiling + p.ceiling_steps[own] - 2 * order)[:, None] - np.minimum(2 * multiple, rise)
        ceiling += np.minimum(2 * (multiple + order[:, None] - 1), rise)
        slots = (p.slots + 2 * free * ~last)[:, None] - 2 * order[:, None] * waits
        settled = (p.settled + p.missing_steps[own] * last)[:, None] + partner_missing * ~waits
        missing = (p.missing + p.missing_steps[own] - p.missing_steps[:, 0])[:, None] + partner_missing
        complete = ((p.atoms == 0) & (p.charge == 0))[:, None] & (excess == 0) & (missing == 0)
        return (
            (self.free[p.row] >= order[:, None])
            & ~self.bonded[p.row]
            & (number >= LEAST[digits, None])
            & (number < (BASE**digits)[:, None])
            & (slots >= excess)
            & (ceiling >= 2 * settled)
            & (ceiling >= 0)
            & (~inside[:, None] | fits(tokens[:, None], (p.atoms - p.depth)[:, None], ceiling // 2))
            & ((free > 0)[:, None] | np.where(inside[:, None], last[:, None], complete))
        )

    def _branch_lengths(self, p, order, digits):
        """`(rows, numbers)` that a branch symbol of this order and number of digits may have; n is n + 1 tokens."""
        v, inside = self.vocabulary, (p.depth > 0)[:, None]
        number = np.arange(self.choices.shape[1])
        rest = (p.tokens - 1 - digits)[:, None] - (number + 1)
        left = (p.atoms - p.depth - 2)[:, None]  # without the first atom of the branch and the next of this chain
        own = np.arange(len(p.row)), order
        excess = p.excess + p.valence_steps[own] - 2 * (order - 1)
        ceiling = p.ceiling + p.ceiling_steps[own] - 2 * (order - 1)
        extra = ceiling[:, None] // 2
        slots = p.slots + 2 * (p.free - order) + 2 * (2 - order)
        bindable = ((self.left[p.row] > 0) & (v.element_order[self.cation[p.row]] >= order[:, None])).any(1)
        return (
            (bindable & (slots >= excess) & (ceiling >= 0))[:, None]
            & (left >= 0)
            & (number >= LEAST[digits, None])
            & (number < (BASE**digits)[:, None])
            & fits(number, left, extra)
            & (~inside | ((rest >= 1) & fits(rest - 1, left, extra)))
        )

    def _next_digits(self, r):
        """`(rows, 16)`: digits that begin a number of `choices`."""
        digits = np.zeros((len(r), BASE), bool)
        for more in range(self.digits[r].max(initial=0)):
            rows = np.flatnonzero(self.digits[r] == more + 1)
            block = BASE**more
            numbers = (self.value[r[rows]] * BASE * block)[:, None] + np.arange(BASE * block)
            digits[rows] = self.choices[r[rows][:, None], numbers].reshape(len(rows), BASE, block).any(2)
        return digits


@dataclass
class Present:
    """What the bounds need of some rows, each field `(rows, ...)`: the present atom and its bonds still `free`; atoms
    and tokens left; `ceiling` and `slots` as if all atoms left had their best symbol; missing bonds, of all and of
    those on no open chain (`settled`); of the present atom with 0 to 3 more bonds, change of valence, missing bonds.
    """

    row: np.ndarray
    atom: np.ndarray
    started: np.ndarray
    depth: np.ndarray
    tokens: np.ndarray
    atoms: np.ndarray
    free: np.ndarray
    charge: np.ndarray
    excess: np.ndarray
    ceiling: np.ndarray
    slots: np.ndarray
    missing: np.ndarray
    settled: np.ndarray
    valence_steps: np.ndarray
    missing_steps: np.ndarray
    ceiling_steps: np.ndarray

    def of(self, rows) -> "Present":
        return Present(*(getattr(self, field.name)[rows] for field in fields(self)))

    def complete(self):
        return (self.atoms == 0) & (self.charge == 0) & (self.excess == 0) & (self.missing == 0)


def fits(tokens, atoms, extra):
    """Whether the rest of a branch, behind an atom, can be so many tokens: an atom takes one, a branch that holds one
    two more and needs a continuation, a ring two or three; longer numbers take one more."""
    most = np.where(atoms > 0, 3 * atoms - 2, 0) + 3 * np.maximum(extra, 0)
    most = np.where(most > BASE, most + atoms, most)
    gap = np.where(atoms > 0, (extra <= 0) & (tokens == 3 * atoms - 3) & (tokens <= BASE), tokens == 1)
    return (tokens == 0) | ((tokens > 0) & (tokens <= most) & ~gap)


def _hypervalent_by_single_bonds(heavy):
    """Pairs of hydrogens fewer than by lowest valences, at most."""
    halogens = sum(heavy.get(element, 0) for element in ("F", "Cl", "Br", "I"))
    chalcogens = heavy.get("S", 0) + heavy.get("Se", 0)
    return heavy.get("P", 0) + (min(2 * chalcogens, halogens // 2) if halogens > 2 else 0)


def _check_formula(formula, heavy, hydrogens, charge, writable):
    if unknown := sorted(set(heavy) - writable):
        raise ValueError(f"formula {formula}: the vocabulary has no {', '.join(unknown)}")
    if not heavy:
        raise ValueError(f"formula {formula}: no atoms but hydrogen")
    if number_of_electrons(heavy, hydrogens, charge) % 2:
        raise ValueError(f"formula {formula}: an odd number of electrons, which only radicals have")


__all__ = ["Derivations", "FormulaConstraint", "number_of_electrons", "read_formula", "valences"]
