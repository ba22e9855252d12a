"""What a saved model answers, and whether a stranger gets the same: by the Auto classes, offline, without spec2mol.

`answers` runs on both sides. The stranger's is this file, a script in a process of its own that `verify` starts:

    python -I fresh_process.py NAME_OR_FOLDER EXPECTED_FILE

It imports torch and transformers only. Its last line on standard error is `<file>: <what is wrong with it>`.
"""

import re
import sys
import traceback
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoProcessor,
)

TOLERANCE = 1e-5  # largest difference, relative to the largest value
LONGEST = 48  # symbols of a molecule to write: enough to tell models apart
# For each answer, in the order of computation, the file to suspect if it is the first to differ.
SUSPECTS = {
    "features": "processor_config.json",
    "examples": "tokenizer.json",
    "embeddings": "model.safetensors",
    "soft_tokens": "model.safetensors",
    "logits": "model.safetensors",
    "scores": "model.safetensors",
    "contrast_loss": "model.safetensors",
    "generated": "generation_config.json",
    "decoded": "tokenizer.json",
}


@torch.no_grad()
def answers(processor, feature_extractor, generator, base, pretraining, queries, targets) -> dict:
    """Everything that can be asked of a model, as tensors and strings.

    Args:
        generator, base, pretraining: what AutoModelForCausalLM, AutoModel and AutoModelForPreTraining give.
        queries: spectra, or molecules where the encoder reads these: dicts of plain numbers, lists and strings.
        targets: SMILES, as many; texts, where the language model writes text.
    """
    reads = "spectra" if feature_extractor.molecules is None else "molecules"
    writes = "molecules" if reads == "spectra" and "[C]" in processor.tokenizer.get_vocab() else "text"  # SELFIES?
    asked, told = {reads: queries}, {writes: targets}
    decode = processor.decode_molecules if writes == "molecules" else processor.decode_text
    features = feature_extractor(queries, return_tensors="pt")
    examples = processor(**asked, **told, return_tensors="pt")
    prompts = processor(**asked, return_tensors="pt")
    generated = generator.generate(**prompts, max_new_tokens=LONGEST, do_sample=False)
    given = {
        "features": dict(features),
        "examples": dict(examples),
        "embeddings": base.encode(**features).last_hidden_state[:, 0],
        "soft_tokens": base(**features).soft_tokens,
        "logits": generator(**examples).logits,
        "generated": generated,
        "decoded": decode(generated) + decode(examples["input_ids"]),
    }
    if getattr(base.config.projector_config, "use_qformer_text_input", False):  # It compares.
        texts = processor(**told, return_tensors="pt")
        given["scores"] = base.score(prompts, texts)
        given["contrast_loss"] = pretraining(**features, **texts).contrast_loss
    return given


class Wrong(Exception):
    """A file that a stranger cannot use, and why."""

    def __init__(self, file: str, reason: str):
        super().__init__(f"{file}: {reason}")


def difference(ours, theirs) -> str | None:
    """In words; None for equal answers."""
    if isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{', '.join(ours)} instead of {', '.join(theirs)}"
        return next((f"{key} {found}" for key in theirs if (found := difference(ours[key], theirs[key]))), None)
    if not isinstance(theirs, torch.Tensor):
        return None if ours == theirs else f"{ours} instead of {theirs}"
    if ours.shape != theirs.shape:
        return f"of shape {tuple(ours.shape)} instead of {tuple(theirs.shape)}"
    if not theirs.is_floating_point():
        return None if torch.equal(ours, theirs) else "differ"
    if not torch.equal(ours.isfinite(), theirs.isfinite()):
        return "are not finite in the same places"
    ours, theirs = ours.nan_to_num(0, 0, 0), theirs.nan_to_num(0, 0, 0)
    largest = (ours - theirs).abs().max().item()
    allowed = TOLERANCE * theirs.abs().max().item()
    return None if largest <= allowed else f"differ by up to {largest:.2g}, more than {allowed:.2g}"


def check(name: str, expected: dict):
    """Raises `Wrong`."""
    loaded = {
        auto_class.__name__: _load(auto_class, name, file)
        for auto_class, file in (
            (AutoConfig, "config.json"),
            (AutoProcessor, "processor_config.json"),
            (AutoFeatureExtractor, "processor_config.json"),
        )
    }
    for auto_class in (AutoModelForCausalLM, AutoModel, AutoModelForPreTraining):
        model, info = _load(auto_class, name, "model.safetensors", output_loading_info=True)
        if absent := [*info["missing_keys"], *info["mismatched_keys"]]:
            raise Wrong("model.safetensors", f"{auto_class.__name__} finds no weights for {absent[0]}")
        loaded[auto_class.__name__] = model.float()
    for auto_class, part in loaded.items():
        if not type(part).__module__.startswith("transformers_modules."):
            raise Wrong("config.json", f"{auto_class} gives {type(part).__name__} of transformers, not of the model")
    differing = loaded["AutoConfig"].to_dict().keys() ^ set(expected["config"])
    if differing := differing - {"custom_pipelines"}:  # A folder from before the pipeline gets it here.
        raise Wrong("config.json", f"fields differ: {', '.join(sorted(differing))}")

    names = ("AutoProcessor", "AutoFeatureExtractor", "AutoModelForCausalLM", "AutoModel", "AutoModelForPreTraining")
    parts = [loaded[auto_class] for auto_class in names]
    try:
        given = answers(*parts, expected["queries"], expected["targets"])
    except Exception as error:
        raise Wrong(_culprit(error, "model.safetensors"), _first_line(error)) from error
    for key in sorted(expected["answers"], key=list(SUSPECTS).index):
        if found := difference(given[key], expected["answers"][key]):
            raise Wrong(SUSPECTS[key], f"{key} {found}")


def _load(auto_class, name, file, **kwargs):
    try:
        return auto_class.from_pretrained(name, trust_remote_code=True, **kwargs)
    except Exception as error:
        reason = f"{auto_class.__name__} cannot be loaded ({_first_line(error)})"
        raise Wrong(_culprit(error, file), reason) from error


def _culprit(error, default):
    """The file of the model that an error comes from: the innermost that ran, else the one it names."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ran = [path.name for path in frames if "transformers_modules" in path.parts]
    named = re.findall(r"\b\w+\.(?:py|json|safetensors)\b", str(error))
    return (ran[-1:] or named[:1] or [default])[0]


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class NotInstalled:
    """A finder that hides spec2mol, wherever it is installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spec2mol":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(name, expected_file):
    sys.meta_path.insert(0, NotInstalled())
    torch.set_num_threads(1)
    expected = torch.load(expected_file, weights_only=True)
    try:
        check(name, expected)
    except Wrong as wrong:
        if wrong.__cause__ is not None:
            traceback.print_exception(wrong.__cause__)
        sys.exit(str(wrong))
    print("the same without spec2mol:", ", ".join(expected["answers"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
