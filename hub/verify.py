"""Does a staged folder answer a stranger as its source answers us?"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_imports, get_relative_imports

from ..data.examples import CONFORMER_COLUMNS, SPECTRUM_COLUMNS
from ..modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolForPreTraining
from ..molecules_spec2mol import embed_conformer
from ..processing_spec2mol import Spec2MolProcessor
from ..saving import AUTO_MAPS
from . import fresh_process

COMMIT = "0" * 40  # a cache names snapshots by commit; this one was not made yet


class VerificationError(ValueError):
    """The message starts with the file that is wrong."""


def expect(
    model: Spec2MolForConditionalGeneration,
    processor: Spec2MolProcessor,
    queries: Sequence[Mapping],
    targets: Sequence[str] | None = None,
) -> dict:
    """The questions and, in float32, the answers of `model`, as `verify` takes them.

    Args:
        queries: what the encoder reads: dicts with `mzs`, `intensities` and what else is known, or with `smiles`. A
            conformer is made here, as another version of RDKit would make another one.
        targets: SMILES, or texts of a language model of text, as many; by default unbranched alkanes, which every
            vocabulary writes.
    """
    model.float().eval()
    pretraining = Spec2MolForPreTraining(model.config)
    pretraining.model = model.model
    if processor.feature_extractor.molecules == "conformer":
        queries = [query | dict(zip(CONFORMER_COLUMNS, embed_conformer(query), strict=True)) for query in queries]
    known = (*SPECTRUM_COLUMNS, *CONFORMER_COLUMNS, "smiles")
    queries = [{key: _plain(query[key]) for key in known if key in query} for query in queries]
    targets = ["C" * length for length in range(1, len(queries) + 1)] if targets is None else list(targets)
    parts = processor, processor.feature_extractor, model, model.model, pretraining
    return {
        "queries": queries,
        "targets": targets,
        "config": sorted(model.config.to_dict()),
        "answers": fresh_process.answers(*parts, queries, targets),
    }


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def verify(folder: str | Path, repo_id: str, expected: dict) -> str:
    """Loads `folder` as a stranger gets it from the Hub: in a fresh process that does not find spec2mol, offline, as
    `repo_id` from a cache of the Hub's layout, by every Auto class. Returns what was compared.

    Raises:
        VerificationError: a file is missing or damaged, cannot be loaded, or answers otherwise than expected.
    """
    check_files(Path(folder))
    with TemporaryDirectory(prefix="spec2mol-verify-") as home:
        repository = Path(home, "cache", f"models--{repo_id.replace('/', '--')}")
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        shutil.copytree(folder, repository / "snapshots" / COMMIT, copy_function=_link)
        return run_fresh_process(repo_id, expected, home)


def check_files(folder: Path):
    """All that can be seen without loading: the auto map is whole, all code that it reaches is there, answers are not
    cut short, the weights are safetensors that open. Raises VerificationError."""
    config = _read_json(folder / "config.json")
    auto_map = config.get("auto_map", {})
    if absent := AUTO_MAPS["spec2mol"].keys() - auto_map.keys():
        raise VerificationError(f"config.json: its auto_map lacks {', '.join(sorted(absent))}")

    wanted = {f"{reference.split('.')[0]}.py": "the auto_map of config.json" for reference in auto_map.values()}
    for task, parts in config.get("custom_pipelines", {}).items():
        wanted[f"{parts['impl'].split('.')[0]}.py"] = f"the pipeline {task} of config.json"
    checked = set()
    while left := wanted.keys() - checked:
        name = min(left)
        if not (folder / name).is_file():
            raise VerificationError(f"{name}: missing, but needed by {wanted[name]}")
        for package in get_imports(folder / name):
            if package == "spec2mol" or find_spec(package) is None:
                raise VerificationError(f"{name}: imports {package}, which a stranger does not have")
        wanted = {f"{module}.py": name for module in get_relative_imports(folder / name)} | wanted
        checked.add(name)

    if _read_json(folder / "generation_config.json").get("max_new_tokens") is None:
        raise VerificationError(
            "generation_config.json: it lacks max_new_tokens, such as 256; transformers cuts answers at 20 symbols"
        )
    check_weights(folder)


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VerificationError(f"{path.name}: {error}") from None


def check_weights(folder: Path):
    """Raises VerificationError."""
    weights = [*folder.glob("model*.safetensors"), *folder.glob("adapter_model.safetensors")]
    if not weights:
        raise VerificationError(f"model.safetensors: not in {folder}")
    for path in sorted(weights):
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise VerificationError(f"{path.name}: damaged ({error})") from None


def run_fresh_process(name: str | Path, expected: dict, home: str | Path) -> str:
    """`home`: an empty folder, or one whose `cache` is a Hub cache that holds `name`. As `verify` otherwise."""
    expected_file = Path(home, "expected.pt")
    torch.save(expected, expected_file)
    places = {"HF_HOME": "", "HF_HUB_CACHE": "cache", "HF_MODULES_CACHE": "modules"}
    environment = os.environ | {key: str(Path(home, place)) for key, place in places.items()} | {"HF_HUB_OFFLINE": "1"}
    environment.pop("HF_TOKEN", None)
    # -I: no PYTHONPATH, no working directory, no user's packages in front of the libraries.
    process = subprocess.run(
        [sys.executable, "-I", fresh_process.__file__, str(name), str(expected_file)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        *details, last = process.stderr.strip().splitlines() or [f"the process ended with code {process.returncode}"]
        raise VerificationError(last) from (RuntimeError("\n".join(details)) if details else None)
    return process.stdout.strip()


def _link(source, target):
    """Hard link: weights may be large."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
