"""A trained folder -> a folder that is ready for the Hub."""

import shutil
from pathlib import Path

from ..loading import load_model
from ..saving import is_half, save_for_hub
from .cards import RECORDS, model_card
from .verify import check_weights

LICENSE = Path(__file__).parents[1] / "LICENSE"


def stage(folder: str | Path, target: str | Path, repo_id: str, license: str | None = None):
    """Writes into `target` what the Hub should get: weights with LoRA merged, processor, remote code, model card,
    licence of the code and the records of training. Weights keep their precision; merged ones are float32.

    Args:
        folder: what `train.py` wrote, a model or LoRA weights.
        repo_id: `ORG/NAME`; the card names it.
        license: of the weights, as the Hub spells it; by default the strictest among the training data's.

    Raises:
        ValueError: no model in `folder`, or a card that the Hub would refuse.
    """
    folder, target = Path(folder), Path(target)
    check_weights(folder)
    model, processor = load_model(str(folder))
    if model.generation_config.max_new_tokens is None:  # transformers would cut answers at 20 symbols.
        model.generation_config.max_new_tokens = type(model)(model.config).generation_config.max_new_tokens
    save_for_hub(model, processor, target, half=is_half(folder))
    for name in RECORDS:
        if (folder / name).is_file():
            shutil.copy(folder / name, target / name)
    shutil.copy(folder / "LICENSE" if (folder / "LICENSE").is_file() else LICENSE, target / "LICENSE")
    model_card(folder, model, processor, repo_id, license).save(target / "README.md")
