from argparse import Namespace

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from spec2mol import UniMolConfig, UniMolModel
from spec2mol.cli.convert_unimol import convert_unimol, key_map
from spec2mol.cli.main import main
from tests import builders
from tests.reference_unimol import reference_unimol


def released(path, args=None, **changes):
    """A checkpoint as Uni-Mol writes them: of a tiny model, with heads of the pre-training. Returns its weights."""
    torch.manual_seed(0)
    model = builders.randomized(UniMolModel(UniMolConfig(**builders.UNIMOL)))
    with torch.no_grad():
        model.pair_bias.stds.uniform_(0.3, 3)
        model.pair_bias.scales.uniform_(0.5, 2)
        model.pair_bias.shifts.normal_(std=0.3)
    ours = model.state_dict()
    state = {old: ours[new] for new, old in key_map(model.config.num_hidden_layers).items()}
    state |= {f"gbf.{name}.weight": state[f"gbf.{name}.weight"][None] for name in ("means", "stds")}
    state |= {f"gbf.{name}.weight": state[f"gbf.{name}.weight"][:, None] for name in ("mul", "bias")}
    assert len(state) == len(ours)
    heads = {"encoder.final_head_layer_norm.weight": torch.ones(4), "lm_head.bias": torch.zeros(31)}
    torch.save({"args": Namespace(**args or {}), "model": state | heads | changes, "extra_state": {}}, path)
    return state


def test_converted_weights_answer_as_the_original_does(tmp_path):
    state = released(tmp_path / "mol_pre_no_h.pt", {"dropout": 0.2, "post_ln": False})
    assert main(["convert-unimol", str(tmp_path / "mol_pre_no_h.pt"), str(tmp_path / "unimol")]) == 0
    model = AutoModel.from_pretrained(tmp_path / "unimol").eval()
    assert model.config.hidden_dropout_prob == 0.2
    features = AutoFeatureExtractor.from_pretrained(tmp_path / "unimol")
    inputs = features(["CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)CC(=O)[O-]", "O"], return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    for row, mask in enumerate(inputs["atoms_mask"].bool()):
        expected = reference_unimol(state, 4, inputs["atom_ids"][row, mask], inputs["coordinates"][row, mask])
        torch.testing.assert_close(output.last_hidden_state[row, mask], expected, rtol=1e-4, atol=1e-5)


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "wrong.pt"
    torch.save({"model": {"a": torch.ones(1)}}, path)
    with pytest.raises(ValueError, match="wrong.pt: not a Uni-Mol checkpoint"):
        convert_unimol(path, tmp_path / "out")
    released(path, {"post_ln": True})
    with pytest.raises(ValueError, match="post_ln=True is not supported"):
        convert_unimol(path, tmp_path / "out")
    released(path, **{"encoder.layers.1.fc1.weight": torch.ones(3, 3)})
    with pytest.raises(ValueError, match="not the shapes of Uni-Mol"):
        convert_unimol(path, tmp_path / "out")
