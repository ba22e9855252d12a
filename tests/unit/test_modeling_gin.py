import numpy as np
import pytest
import torch
from rdkit import Chem

from spec2mol import GinConfig, GinModel
from spec2mol.molecules_spec2mol import ATOM_FEATURES, BOND_FEATURES, graph_features
from tests import builders

MOLECULES = ["CCO", "C", "CC(=O)[O-].[Na+]", "c1ccccc1C(=O)NC", "C[C@H](N)/C=C/Cl"]


def tensors(molecules):
    return {name: torch.from_numpy(array) for name, array in graph_features(molecules).items()}


@pytest.fixture
def model():
    """In eval mode, but with statistics of some molecules."""
    torch.manual_seed(0)
    built = builders.randomized(GinModel(GinConfig(**builders.GIN)))
    with torch.no_grad():
        for layer in built.layers:
            layer.eps.normal_()
        built.train()(**tensors(MOLECULES))
    return built.eval()


@torch.no_grad()
def states(model, molecules):
    output = model(**tensors(molecules))
    return [rows[: mask.sum()] for rows, mask in zip(output.last_hidden_state, output.attention_mask, strict=True)]


def test_the_published_architecture():
    config = GinConfig()
    assert config.atom_feature_sizes == [len(choices) for _, choices in ATOM_FEATURES]
    assert config.bond_feature_sizes == [len(choices) for _, choices in BOND_FEATURES]
    with torch.device("meta"):
        model = GinModel(config)
    assert (len(model.layers), config.hidden_size) == (5, 300)
    assert [tuple(weight.shape) for weight in model.layers[0].mlp.parameters()][0] == (600, 300)
    layer = 300 * 600 * 2 + 600 + 300 + 2 * 600 + 2 * 300 + 1 + 13 * 300
    assert model.num_parameters() == 174 * 300 + 5 * layer


def test_output_is_that_of_an_encoder(model):
    output = model(**tensors(MOLECULES), output_hidden_states=True)
    assert output.last_hidden_state.shape == (5, 10, 24)
    assert output.attention_mask.sum(1).tolist() == [3, 1, 5, 10, 6]
    assert len(output.hidden_states) == 6 and torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert output.motif_features.shape[-1] == 73 and output.motif_mask.shape == output.motif_features.shape[:2]
    assert model(**tensors(MOLECULES)).hidden_states is None


@torch.no_grad()
def test_against_sums_over_neighbours(model):
    """Atom by atom, from the definition."""
    molecule = Chem.MolFromSmiles("C[C@H](N)/C=C/Cl")
    inputs = tensors([molecule])

    def embed(tables, row):
        return sum(table.weight[index] for table, index in zip(tables.embeddings, row, strict=True))

    atoms = torch.stack([embed(model.atom_embeddings, row) for row in inputs["atom_features"][0]])
    kinds = {frozenset(ends.tolist()): inputs["bond_features"][0, i] for i, ends in enumerate(inputs["bonds"][0])}
    for number, layer in enumerate(model.layers):
        rows = []
        for atom in molecule.GetAtoms():
            row = (1 + layer.eps) * atoms[atom.GetIdx()]
            for other in atom.GetNeighbors():
                bond = embed(layer.bond_embeddings, kinds[frozenset((atom.GetIdx(), other.GetIdx()))])
                row = row + (atoms[other.GetIdx()] + bond).relu()
            rows.append(row)
        atoms = layer.norm(layer.mlp(torch.stack(rows)))
        atoms = atoms if number == 4 else atoms.relu()
    torch.testing.assert_close(model(**inputs).last_hidden_state[0], atoms, rtol=1e-4, atol=1e-5)


def test_states_follow_the_order_of_atoms(model):
    molecule = Chem.MolFromSmiles(MOLECULES[3])
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms()).tolist()
    expected = states(model, [molecule])[0]
    torch.testing.assert_close(
        states(model, [Chem.RenumberAtoms(molecule, order)])[0], expected[order], rtol=1e-4, atol=1e-5
    )


def test_bonds_and_atoms_matter(model):
    single, double, aza = states(model, ["CCC=O", "CC=CO", "CNC=O"])
    assert (single[0] - double[0]).abs().max() > 1e-3 and (single[0] - aza[0]).abs().max() > 1e-3


def test_padding_never_changes_results(model):
    for molecule, row in zip(MOLECULES, states(model, MOLECULES), strict=True):
        torch.testing.assert_close(states(model, [molecule])[0], row, rtol=1e-4, atol=1e-5)


def test_batch_statistics_know_no_padding(model):
    """In training, more padding changes neither states nor running statistics."""
    inputs = tensors(MOLECULES)
    padded = {
        name: torch.cat([x, torch.full_like(x[:, :2], 1 - ("mask" in name))], dim=1) for name, x in inputs.items()
    }
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    expected = model(**inputs).last_hidden_state
    after = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    found = model(**padded).last_hidden_state
    torch.testing.assert_close(found[:, :10], expected, rtol=1e-5, atol=1e-6)
    assert (found[:, 10:] == 0).all()
    torch.testing.assert_close(model.state_dict(), after)
    assert not torch.equal(after["layers.0.norm.running_mean"], before["layers.0.norm.running_mean"])


def test_no_gradient_comes_from_padding(model):
    inputs = tensors(MOLECULES)
    inputs["atom_features"][~inputs["atoms_mask"].bool()] = 1  # padding that is hydrogen-like in every feature
    model.atom_embeddings.embeddings[0].weight.grad = None
    model(**inputs).last_hidden_state.square().sum().backward()
    gradient = model.atom_embeddings.embeddings[0].weight.grad
    present = inputs["atom_features"][..., 0][inputs["atoms_mask"].bool()].unique()
    assert (gradient[present].abs().sum(1) > 0).all()
    absent = [index for index in range(119) if index not in present]
    assert 1 in absent and (gradient[absent] == 0).all()


def test_molecules_without_bonds(model):
    assert [len(rows) for rows in states(model, ["C", "[Na+]"])] == [1, 1]


def test_save_and_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = GinModel.from_pretrained(tmp_path).eval()
    for found, row in zip(states(loaded, MOLECULES), states(model, MOLECULES), strict=True):
        assert torch.equal(found, row)
