import pytest
import torch
from torch import nn

from spec2mol.training.freezing import frozen_modules, set_trainable


def model():
    return nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "head": nn.Linear(2, 2)})


def test_globs_say_what_is_trained():
    net = model()
    set_trainable(net, ["head.*", "encoder.0.bias"])
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {"head.weight", "head.bias", "encoder.0.bias"}


def test_frozen_modules_are_those_without_any_trained_parameter():
    net = model()
    set_trainable(net, ["head.*"])
    assert set(frozen_modules(net)) == {net["encoder"], net["encoder"][0], net["encoder"][1]}
    set_trainable(net, ["encoder.1.*", "head.*"])
    assert frozen_modules(net) == [net["encoder"][0]]


def test_everything_can_be_trained():
    net = model()
    set_trainable(net, ["*"])
    assert frozen_modules(net) == []


def test_what_no_loss_reaches_is_never_trained():
    """Else training on several processes would wait for its gradients."""
    net = nn.ModuleDict({"model": nn.ModuleDict({"fragmentation": nn.Linear(2, 2), "encoder": nn.Linear(2, 2)})})
    set_trainable(net, ["*"])
    assert frozen_modules(net) == [net["model"]["fragmentation"]]


def test_a_pattern_without_a_match_is_an_error():
    with pytest.raises(ValueError, match="'decoder.*' matches no parameter"):
        set_trainable(model(), ["decoder.*"])


def test_frozen_batch_statistics_stay_in_a_trainer_step(tmp_path):
    from transformers import TrainingArguments

    from spec2mol.training.trainer import Spec2MolTrainer

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = model()

        def forward(self, x):
            return {"loss": self.parts["head"](self.parts["encoder"](x)).square().mean()}

    net = Net()
    set_trainable(net, ["parts.head.*"])
    before = net.parts["encoder"][1].running_mean.clone(), net.parts["head"].weight.clone()

    def collate(rows):
        return {"x": torch.stack([row["x"] for row in rows])}

    class Rows(list):
        def __getitem__(self, key):
            return list(range(len(self))) if isinstance(key, str) else super().__getitem__(key)

    trainer = Spec2MolTrainer(
        net,
        TrainingArguments(
            output_dir=tmp_path, max_steps=2, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True
        ),
        data_collator=collate,
        eval_collator=collate,
        frozen=frozen_modules(net),
        train_dataset=Rows({"x": x} for x in torch.randn(16, 2)),
    )
    trainer.train()
    assert torch.equal(net.parts["encoder"][1].running_mean, before[0])
    assert not torch.equal(net.parts["head"].weight, before[1])
