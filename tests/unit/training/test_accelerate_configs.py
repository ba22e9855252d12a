"""The configs for several GPUs are such as accelerate reads, and name layers that are there."""

from pathlib import Path

import pytest
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

from tests import builders

CONFIGS = Path(__file__).parents[3] / "recipes" / "accelerate"


def config(name):
    return load_config_from_file(str(CONFIGS / f"{name}.yaml"))


@pytest.mark.parametrize(("name", "kind"), [("two_gpus", DistributedType.MULTI_GPU), ("fsdp", DistributedType.FSDP)])
def test_accelerate_reads_it(name, kind):
    read = config(name)
    assert (read.distributed_type, read.num_processes, read.mixed_precision) == (kind, 2, "no")


def test_the_layers_that_fsdp_wraps_are_those_of_the_model():
    wrapped = config("fsdp").fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(",")
    model = builders.model()
    there = {type(module).__name__ for module in model.modules()}
    assert set(wrapped) == there & set(model._no_split_modules)  # Those of other encoders are not there.
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", transformer_cls_names_to_wrap=wrapped
    )
    plugin.set_auto_wrap_policy(model)  # raises for a name that it does not find
    wraps = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
    assert {layer.__name__ for layer in wraps} == set(wrapped)
