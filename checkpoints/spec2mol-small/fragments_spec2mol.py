"""Fragments of a molecule: what at most two cuts leave in one piece.

A cut opens one acyclic bond or two bonds of one ring; it always makes two pieces, of which one is lost. Two ring bonds
cut a molecule in two if and only if every ring that has the one has the other. Rings are sums of the fundamental
cycles of a spanning tree, so this holds if both bonds lie on the same fundamental cycles. Bonds are grouped by that
set: those on none are the acyclic ones, each a group of its own, and a group of k > 1 divides the molecule into k
parts in a circle, of which every arc can be lost.

Two cuts of different groups never cross (the groups are the cycles and bridges of a cactus graph): if their lost
pieces do not overlap, what remains is connected, and no two pairs leave the same atoms. Two cuts of one group leave
nothing new in one piece. So fragments need no search: they are the whole molecule less two disjoint pieces of
different groups, and every sum over their atoms is that of the molecule less those of the pieces.
"""

from typing import NamedTuple

import numpy as np

MAX_ATOMS = 64  # heavy atoms: a piece is a set of atoms in one machine word
MAX_FRAGMENTS = 2048
HYDROGEN_SHIFTS = np.arange(-4, 3)  # hydrogens that a fragment gains beyond its own, the charging proton included


class Fragments(NamedTuple):
    """pieces: uint64 `(pieces,)`, the atoms (bit i is atom i) that one cut can split off; piece 0 is empty.
    lost: int64 `(fragments, 2)`, the two pieces that each fragment lacks. Fragment 0 is the whole molecule."""

    pieces: np.ndarray
    lost: np.ndarray


def enumerate_fragments(molecule, costs: np.ndarray, limit: int = MAX_FRAGMENTS) -> Fragments:
    """All fragments, or the `limit` of least cost.

    Args:
        molecule: of rdkit.
        costs: of opening each bond, `(bonds,)`; only their order matters.

    Raises:
        ValueError: more than `MAX_ATOMS` heavy atoms, or several molecules.
    """
    num_atoms = molecule.GetNumAtoms()
    if num_atoms > MAX_ATOMS:
        raise ValueError(f"{num_atoms} heavy atoms, expected at most {MAX_ATOMS}")
    neighbors = [[] for _ in range(num_atoms)]  # (atom, bond)
    ends = []
    for bond in molecule.GetBonds():
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        neighbors[begin].append((end, bond.GetIdx()))
        neighbors[end].append((begin, bond.GetIdx()))
        ends.append((begin, end))
    whole = (1 << num_atoms) - 1
    cuts = [(0, 0, 0.0)]
    for group, bonds in enumerate(_bond_groups(neighbors), start=1):
        for piece, opened in _pieces(bonds, ends, neighbors):
            cost = sum(costs[bond] for bond in opened)
            cuts += [(piece, group, cost), (whole ^ piece, group, cost)]
    pieces = np.array([piece for piece, _, _ in cuts], np.uint64)
    group = np.array([group for _, group, _ in cuts])
    cost = np.array([cost for _, _, cost in cuts])

    first, second = np.triu_indices(len(pieces), 1)  # a single cut is one with the empty piece
    disjoint = pieces[first] & pieces[second] == 0
    leaves_some = pieces[first] | pieces[second] != np.uint64(whole)
    pair = np.flatnonzero(disjoint & leaves_some & (group[first] != group[second]))
    if len(pair) > limit - 1:
        pair = pair[np.argsort(cost[first[pair]] + cost[second[pair]], kind="stable")[: limit - 1]]
    return Fragments(pieces, np.concatenate([[[0, 0]], np.stack([first[pair], second[pair]], 1)]))


def _bond_groups(neighbors) -> list[list[int]]:
    """Bonds by the set of fundamental cycles they lie on; the acyclic ones are each alone. Ring bonds that no other
    bond can be opened with are left out."""
    order, above = [0], {0: (0, -1)}  # of a breadth-first tree: atom -> (atom before, bond)
    for atom in order:
        for other, bond in neighbors[atom]:
            if other not in above:
                above[other] = (atom, bond)
                order.append(other)
    if len(order) < len(neighbors):
        raise ValueError("more than one molecule")
    tree = {bond for _, bond in above.values()}
    cycles, closures = {}, [0] * len(order)  # bits: one for each bond that is not in the tree
    for atom in order:
        for other, bond in neighbors[atom]:
            if bond not in tree and atom < other:
                cycles[bond] = 1 << len(cycles)
                closures[atom] ^= cycles[bond]
                closures[other] ^= cycles[bond]
    for atom in reversed(order[1:]):  # a bond of the tree lies on the cycles that are closed by one end in its subtree
        before, bond = above[atom]
        cycles[bond] = closures[atom]
        closures[before] ^= closures[atom]
    groups = {}
    for bond, key in cycles.items():
        groups.setdefault((key, bond if key == 0 else None), []).append(bond)
    return [bonds for (key, _), bonds in groups.items() if key == 0 or len(bonds) > 1]


def _pieces(bonds, ends, neighbors):
    """(atoms of one side, bonds opened) of each cut of a group."""
    if len(bonds) == 1:
        yield _flood(ends[bonds[0]][0], bonds, neighbors), bonds
        return
    parts, around = [], [bonds[0]]  # around[i] joins parts[i - 1] and parts[i]
    atom = ends[bonds[0]][1]
    while True:
        part = _flood(atom, bonds, neighbors)
        parts.append(part)
        ahead = next(bond for bond in bonds if bond != around[-1] and any(part >> end & 1 for end in ends[bond]))
        if ahead == bonds[0]:
            break
        around.append(ahead)
        atom = next(end for end in ends[ahead] if not part >> end & 1)
    for start in range(len(parts)):
        arc = 0
        for stop in range(start + 1, len(parts)):
            arc |= parts[stop - 1]
            yield arc, (around[start], around[stop])


def _flood(atom, opened, neighbors) -> int:
    """Atoms connected to this one, as bits."""
    reached, stack = 1 << atom, [atom]
    while stack:
        for other, bond in neighbors[stack.pop()]:
            if bond not in opened and not reached >> other & 1:
                reached |= 1 << other
                stack.append(other)
    return reached


def membership(pieces: np.ndarray, num_atoms: int) -> np.ndarray:
    """`(pieces, atoms)` float32: 1 where the atom is in the piece."""
    return (pieces[:, None] >> np.arange(num_atoms, dtype=np.uint64) & np.uint64(1)).astype(np.float32)


__all__ = ["HYDROGEN_SHIFTS", "MAX_ATOMS", "MAX_FRAGMENTS", "Fragments", "enumerate_fragments", "membership"]
