"""What each encoder and projector of molecules is there for: tasks that one learns and another cannot, as the same
weights read less. The answer is read off the soft tokens by a linear layer."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.rdDistGeom import EmbedMultipleConfs, ETKDGv3
from torch import nn

from spec2mol import Spec2MolFeatureExtractor, Spec2MolModel
from tests import builders

SEEDS = (0, 1, 2)


class Reader(nn.Module):
    def __init__(self, config, num_answers: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.model = Spec2MolModel(config)
        self.head = nn.Linear(config.text_config.hidden_size, num_answers)

    def forward(self, inputs, last_level_only: bool = False):
        encoded = self.model.encode(**inputs)
        if last_level_only:
            encoded.hidden_states = encoded.hidden_states[-1:] * len(encoded.hidden_states)
        return self.head(self.model.projector(encoded).mean(1))

    def fit(self, inputs, answers, loss_function, steps: int, learning_rate: float = 3e-3, **kwargs):
        """Trains all that is not frozen, on random batches of 32."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        generator = torch.Generator().manual_seed(0)
        self.train()
        for _ in range(steps):
            rows = torch.randint(len(answers), (32,), generator=generator)
            if not any(parameter.requires_grad for parameter in self.model.encoder.parameters()):
                self.model.encoder.eval()
            loss = loss_function(self(chosen(inputs, rows), **kwargs), answers[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return self.eval()


def chosen(inputs, rows):
    return {name: tensor[rows] for name, tensor in inputs.items()}


def read(molecules, featurizer: str) -> dict[str, torch.Tensor]:
    return dict(Spec2MolFeatureExtractor(molecules=featurizer)(molecules, return_tensors="pt"))


def test_conformers_tell_what_the_structure_does_not():
    """The distance between both ends of one molecule, hexane-1,6-diol, in conformers that training has not seen: the
    encoder of 3D reads it, and from the atoms alone nothing is better than the mean."""
    molecule, parameters = Chem.AddHs(Chem.MolFromSmiles("OCCCCCCO")), ETKDGv3()
    parameters.randomSeed = 1
    EmbedMultipleConfs(molecule, 260, parameters)
    coordinates = [conformer.GetPositions()[:8] for conformer in molecule.GetConformers()]
    inputs = read([{"atoms": list("OCCCCCCO"), "coordinates": xyz} for xyz in coordinates], "conformer")
    flat = inputs | {"coordinates": torch.zeros_like(inputs["coordinates"])}
    ends = torch.tensor([[np.linalg.norm(xyz[0] - xyz[-1])] for xyz in coordinates], dtype=torch.float32)
    seen, unseen = torch.arange(200), torch.arange(200, 260)
    spread = (ends[unseen] - ends[seen].mean()).abs().mean()

    def error(inputs):
        wider = {"initializer_range": 0.1}  # BERT's initial weights are for a width of 768
        encoder = builders.UNIMOL | wider | {"num_gaussians": 64}
        config = builders.conformer_config(encoder_config=encoder, projector_config=builders.PROJECTOR | wider)
        reader = Reader(config, 1, seed=0)
        nn.init.constant_(reader.head.bias, ends[seen].mean())
        reader.fit(chosen(inputs, seen), ends[seen], nn.functional.mse_loss, steps=150)
        with torch.no_grad():
            return (reader(chosen(inputs, unseen)) - ends[unseen]).abs().mean()

    assert spread > 0.7  # Angstrom
    assert error(inputs) < 0.5 * spread
    assert error(flat) > 0.9 * spread


def fused_or_linked(substituent: str, size: int) -> list[tuple[str, int]]:
    """Two fused rings of `size` atoms, and two rings of `size - 1` atoms joined by a bond, each with both middle atoms
    substituted: (SMILES, number of six-membered rings)."""
    chain, group = "C" * (size - 2), f"({substituent})" if substituent else ""
    fused = f"C12{group}{chain}C1{group}{chain}2"
    linked = f"C1{group}({chain[:-1]}C1)C1{group}{chain[:-1]}C1"
    return [(fused, 2 * (size == 6)), (linked, 2 * (size == 7))]


@pytest.mark.parametrize("seed", SEEDS)
def test_motifs_tell_rings_that_neighbourhoods_do_not(seed):
    """How many rings have six members: decalin and bicyclopentyl, say, are one and the same to every network that
    passes messages along bonds, for each atom has the same neighbourhood in both. Substituents of the test are new."""
    groups = ["", *"C N O F Cl Br CC CO CN OC NC CF S C#N C=C CCC".split()]
    pairs = [pair for group in groups for size in (6, 7) for pair in fused_or_linked(group, size)]
    inputs = read([smiles for smiles, _ in pairs], "graph")
    answers = torch.tensor([count // 2 for _, count in pairs])
    new = torch.tensor([index // 4 % 3 == 2 for index in range(len(pairs))])

    def accuracy(num_motif_queries):
        projector = {"num_motif_queries": num_motif_queries}
        config = builders.graph_config(projector=projector, num_query_tokens=24 + num_motif_queries)
        reader = Reader(config, 2, seed)
        reader.fit(chosen(inputs, ~new), answers[~new], nn.functional.cross_entropy, steps=80)
        with torch.no_grad():
            return (reader(chosen(inputs, new)).argmax(-1) == answers[new]).float().mean()

    assert accuracy(4) > 0.95
    assert accuracy(0) == 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_low_levels_tell_atoms_that_the_last_does_not(seed):
    """Shares of nitrogen, oxygen, fluorine and sulfur among the atoms, from a frozen encoder: in the last level atoms
    are mixed with their neighbourhoods. One model reads all levels, the other the last one six times."""
    rng = np.random.default_rng(0)
    pieces = ["C", "CC", "N", "O", "S", "C(F)", "C(Cl)", "C(=O)", "C(C)", "C(O)", "C(N)", "c1ccc(cc1)"]
    molecules = [Chem.MolFromSmiles("C" + "".join(rng.choice(pieces, rng.integers(3, 9))) + "C") for _ in range(400)]
    inputs = read(molecules, "graph")
    counts = [[sum(a.GetSymbol() == e for a in m.GetAtoms()) / m.GetNumAtoms() for e in "NOFS"] for m in molecules]
    seen, unseen = torch.arange(300), torch.arange(300, 400)
    shares = torch.tensor(counts)
    shares = (shares - shares[seen].mean(0)) / shares[seen].std(0)

    def explained(last_level_only):
        config = builders.graph_config(projector={"num_motif_queries": 0}, num_query_tokens=24)
        reader = Reader(config, 4, seed)
        with torch.no_grad():
            for _ in range(20):  # the statistics of these molecules, for BatchNorm
                reader.model.encoder.train()(**chosen(inputs, seen))
        reader.model.encoder.requires_grad_(False)
        kwargs = {"last_level_only": last_level_only}
        reader.fit(chosen(inputs, seen), shares[seen], nn.functional.mse_loss, 250, learning_rate=1e-2, **kwargs)
        with torch.no_grad():
            error = (reader(chosen(inputs, unseen), **kwargs) - shares[unseen]).square().sum()
        return 1 - error / (shares[unseen] - shares[unseen].mean(0)).square().sum()

    assert explained(last_level_only=False) > 0.85
    assert explained(last_level_only=True) < 0.5
