"""Fragments of a molecule: what at most two cuts leave in one piece.

A cut opens one acyclic bond or two bonds of one ring, and so always makes two pieces. Hydrogens move: a fragment may
have lost up to four of its own, or gained up to two.

Two ring bonds cut a molecule in two if and only if every ring that has the one has the other. Rings are sums of the
fundamental cycles of a spanning tree, so this holds if both lie on the same fundamental cycles: bonds are grouped by
that set (bonds on none are the acyclic ones), and each group of k > 1 bonds divides the molecule into k parts in a
circle, of which every arc is a fragment.
"""

from collections import deque

import numpy as np
from rdkit import Chem

MAX_ATOMS = 64  # heavy atoms: a fragment is a set of atoms in one machine word
HYDROGEN_SHIFTS = np.arange(-4, 3)  # hydrogens gained by a fragment, the charging proton included
MAX_FRAGMENTS = 2048


def enumerate_fragments(molecule: Chem.Mol, costs: np.ndarray, limit: int = MAX_FRAGMENTS) -> np.ndarray:
    """Atom sets, uint64 `(fragments,)`, bit i is atom i. The whole molecule comes first, then what one cut leaves, then
    what two cuts leave, of which those of the least cost are kept.

    Args:
        costs: of opening each bond, `(bonds,)`; only their order matters.
        limit: of the number of fragments.

    Raises:
        ValueError: more than `MAX_ATOMS` heavy atoms.
    """
    num_atoms = molecule.GetNumAtoms()
    if num_atoms > MAX_ATOMS:
        raise ValueError(f"{num_atoms} heavy atoms, expected at most {MAX_ATOMS}")
    neighbors = [[] for _ in range(num_atoms)]
    for bond in molecule.GetBonds():
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        neighbors[begin].append((end, bond.GetIdx()))
        neighbors[end].append((begin, bond.GetIdx()))

    whole = (1 << num_atoms) - 1
    cheapest = {}
    for fragment, cost in _one_cut(neighbors, costs.tolist()):
        for piece in (fragment, whole ^ fragment):
            cheapest[piece] = min(cost, cheapest.get(piece, cost))
    cheapest.pop(whole, None)
    once = np.array(list(cheapest), np.uint64)
    cost = np.array(list(cheapest.values()))
    order = np.argsort(cost, kind="stable")[: limit - 1]
    once, cost = once[order], cost[order]

    first, second = np.triu_indices(len(once), 1)
    twice, cost = once[first] & once[second], cost[first] + cost[second]
    twice, cost = twice[twice != 0], cost[twice != 0]
    if len(twice) > 4 * limit:  # many are alike or in pieces
        order = np.argpartition(cost, 4 * limit)[: 4 * limit]
        twice, cost = twice[order], cost[order]
    order = np.argsort(cost, kind="stable")
    twice = twice[order]
    twice = twice[np.sort(np.unique(twice, return_index=True)[1])]
    twice = twice[~np.isin(twice, once)]
    twice = twice[_is_connected(twice, neighbors)][: limit - 1 - len(once)]
    return np.concatenate([np.array([whole], np.uint64), once, twice])


def _one_cut(neighbors, costs):
    """(piece, cost of the cut) of every cut, the pieces as integers. Each cut gives one of its two pieces."""
    parent, order = {0: (None, None)}, [0]
    queue = deque([0])
    cycles = {}  # bond -> the set of fundamental cycles it lies on, as bits
    num_cycles = 0
    while queue:
        atom = queue.popleft()
        for other, bond in neighbors[atom]:
            if other not in parent:
                parent[other] = (atom, bond)
                order.append(other)
                queue.append(other)
    tree = {bond for _, bond in parent.values()}
    label = [0] * len(neighbors)
    for atom, bonds in enumerate(neighbors):
        for other, bond in bonds:
            if bond not in tree and atom < other:
                cycles[bond] = 1 << num_cycles
                label[atom] ^= 1 << num_cycles
                label[other] ^= 1 << num_cycles
                num_cycles += 1
    subtree = [1 << atom for atom in range(len(neighbors))]
    for atom in reversed(order[1:]):
        above, bond = parent[atom]
        cycles[bond] = label[atom]
        label[above] ^= label[atom]
        subtree[above] |= subtree[atom]
        if not cycles[bond]:
            yield subtree[atom], costs[bond]

    groups = {}
    for bond, key in cycles.items():
        if key:
            groups.setdefault(key, []).append(bond)
    ends = {bond: (atom, other) for atom, bonds in enumerate(neighbors) for other, bond in bonds}
    for bonds in groups.values():
        if len(bonds) > 1:
            yield from _arcs(*_circle(bonds, ends, neighbors), costs)


def _circle(bonds, ends, neighbors):
    """The parts that a group of ring bonds divides the molecule into, and the bonds between them, in the order of the
    circle: bonds[i] joins parts[i - 1] and parts[i]."""
    group = set(bonds)
    parts, around = [], []
    bond, (_, atom) = bonds[0], ends[bonds[0]]
    while True:
        part = _flood(atom, neighbors, group)
        parts.append(part)
        around.append(bond)
        group_here = [b for b in bonds if b != bond and any(part >> end & 1 for end in ends[b])]
        bond = group_here[0]
        if bond == bonds[0]:
            return parts, around
        begin, end = ends[bond]
        atom = end if part >> begin & 1 else begin


def _flood(start, neighbors, closed):
    part, stack = 1 << start, [start]
    while stack:
        for other, bond in neighbors[stack.pop()]:
            if bond not in closed and not part >> other & 1:
                part |= 1 << other
                stack.append(other)
    return part


def _arcs(parts, bonds, costs):
    for first in range(len(parts)):
        arc = 0
        for last in range(first, len(parts) - 1):
            arc |= parts[last]
            yield arc, costs[bonds[first]] + costs[bonds[last + 1]]


def _is_connected(fragments, neighbors):
    """Floods all fragments at once from their lowest atoms."""
    reached = fragments & (~fragments + np.uint64(1))
    masks = np.array([sum(1 << other for other, _ in bonds) for bonds in neighbors], np.uint64)
    open_ = np.arange(len(fragments))
    connected = np.zeros(len(fragments), bool)
    sets, seen = fragments, reached
    one = np.uint64(1)
    while len(open_):
        before = seen
        for atom, mask in enumerate(masks):
            seen = seen | (mask & sets & -((seen >> np.uint64(atom)) & one))
        complete = seen == sets
        connected[open_[complete]] = True
        going = ~complete & (seen != before)
        open_, sets, seen = open_[going], sets[going], seen[going]
    return connected


def membership(fragments: np.ndarray, num_atoms: int) -> np.ndarray:
    """`(fragments, atoms)` float32: 1 where the atom is in the fragment."""
    return (fragments[:, None] >> np.arange(num_atoms, dtype=np.uint64) & np.uint64(1)).astype(np.float32)
