"""The model card says what is recorded beside the weights, and that the rest is not."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from spec2mol.data.provenance import provenance
from spec2mol.hub.cards import MARKER, model_card
from spec2mol.loading import DEFAULT_MODEL, load_model
from tests import builders

REPO = "someone/spec2mol-tiny"
INTERVAL = {"mean": 0.25, "low": 0.2, "high": 0.31}
METRICS = {
    "model": "runs/align",
    "data": "val.parquet",
    "sha256": "0123456789abcdef" * 4,
    "spectra": 2993,
    "limit_per_molecule": None,
    "training_record": "None of these 261 molecules is in the training record.",
    "figures": {
        "mass": {
            "model": {"tanimoto@1": INTERVAL, "exact_match@1": INTERVAL | {"mean": 0.0}, "loss": INTERVAL},
            "peaks removed": {"tanimoto@1": INTERVAL | {"mean": 0.125}},
            "retrieval": {"itc@1": INTERVAL, "itc@5": INTERVAL, "itc@20": INTERVAL},
        },
        "formula": {"model": {"tanimoto@1": INTERVAL | {"mean": 0.5}}},
    },
    "calibration": {
        "mass": {"first answer right": {"expected calibration error": {"mean": 0.0625, "low": 0.05, "high": 0.1}}},
        "formula": {},
    },
}


@pytest.fixture(scope="module")
def model():
    return builders.model()


def card(folder, model, **fields) -> ModelCard:
    """Written and read again, as the Hub does."""
    path = folder / "card.md"
    model_card(folder, model, builders.processor(), REPO, **fields).save(path)
    return ModelCard.load(path)


def test_metadata(tmp_path, model):
    builders.record_training(tmp_path)
    data = card(tmp_path, model).data
    assert data.license == "cc-by-sa-4.0"  # of CC0, CC BY and CC BY-SA
    assert (data.library_name, data.pipeline_tag) == ("transformers", "other")
    assert "mass-spectrometry" in data.tags


def test_training_data_are_named_and_credited(tmp_path, model):
    builders.record_training(tmp_path)
    text = card(tmp_path, model).text
    assert "| align | from language | train.parquet (MassBank) | 4 | 4 | 60 steps x 4 | model.* |" in text
    assert "It saw 4 molecules" in text
    assert "[MassBank](https://github.com/MassBank/MassBank-data), each record under its own licence" in text
    assert "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) 2, " in text
    assert "rows by contributor: Eawag 2, UFZ 2" in text


def test_inputs_parts_and_use(tmp_path, model):
    text = card(tmp_path, model, license="cc-by-4.0").text
    assert f'AutoProcessor.from_pretrained("{REPO}", trust_remote_code=True)' in text
    assert "the 8 most intense peaks" in text
    assert "`[M+Na]+`" in text and "`FT-ICR`" in text and "Cl, Br, I" in text
    count = sum(p.numel() for p in model.model.encoder.parameters())
    assert f"| encoder | dreams, 2 layers x 32 | {count:,} |" in text
    assert "| language model | gpt_neo, 2 layers x 32, vocabulary of " in text
    assert "| fragmentation |" not in text
    explaining = builders.with_fragmentation(builders.model())
    assert (
        "| fragmentation | spec2mol_fragmentation, 4 layers x 128 |"
        in card(tmp_path, explaining, license="cc0-1.0").text
    )


def test_the_example_in_the_card_runs(tmp_path, model, monkeypatch):
    code = card(tmp_path, model, license="cc-by-4.0").text.split("```python\n")[1].split("```")[0]
    exec(code.replace(REPO, DEFAULT_MODEL), {})


def test_figures_stand_beside_their_controls(tmp_path, model):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    written = card(tmp_path, model, license="cc-by-4.0")
    assert "| model | 0.000 [0.200, 0.310] | 0.250 [0.200, 0.310] |" in written.text
    assert "| peaks removed |  | 0.125 [0.200, 0.310] |" in written.text
    assert "2993 spectra of val.parquet" in written.text and METRICS["training_record"] in written.text
    assert "| contrast (ITC) | 0.250 [0.200, 0.310] |" in written.text
    assert "| first answer right | 0.062 [0.050, 0.100] |" in written.text


def test_each_track_is_a_result_of_its_own(tmp_path, model):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    (index,) = card(tmp_path, model, license="cc-by-4.0").data.to_dict()["model-index"]
    mass, formula = index["results"]
    assert mass["dataset"] == {
        "name": "val.parquet (2,993 spectra)",
        "type": "val.parquet",
        "config": "track mass",
    }
    assert {metric["type"]: metric["value"] for metric in mass["metrics"]} == {"tanimoto@1": 0.25, "exact_match@1": 0}
    assert formula["dataset"]["config"] == "track formula"
    assert [metric["value"] for metric in formula["metrics"]] == [0.5]


def stage_of(files):
    """A stage that was trained on these data files."""
    recipe = {"stage": "align", "model": {}, "arguments": {}, "lora": None, "trainable": ["*"]}
    return {"recipe": recipe, "data": files, "examples": 8, "molecules": 8}


def test_shards_are_one_entry_and_a_file_is_known_by_what_any_stage_tells_of_it(tmp_path, model):
    simulated = [
        {"file": f"part-{i:03d}.parquet", "sha256": str(i)} | provenance_of_simulated(tmp_path) for i in range(3)
    ]
    measured = {"file": "train.parquet", "sha256": "m", "licenses": {"CC0": 4}, "sources": {"massbank": 4}}
    structures = {"file": "train.parquet", "sha256": "s", "licenses": {"CC BY 4.0": 5}, "sources": {"chebi20": 5}}
    stages = [stage_of([structures]), stage_of([*simulated, measured])]
    stages.append(stage_of([*simulated, *2 * [{"file": "train.parquet", "sha256": "m"}]]))
    stages.append(stages[0])  # Two parts of the model stem from it.
    (tmp_path / "training_record.json").write_text(json.dumps({"stages": stages, "unknown": []}))
    save_file({"identities": np.arange(8)}, tmp_path / "training_molecules.safetensors")
    written = card(tmp_path, model)
    lines = written.text.splitlines()
    assert sum("part-*.parquet (simulated by spec2mol), train.parquet (MassBank) | 8" in line for line in lines) == 2
    assert sum("train.parquet (ChEBI) | 8" in line for line in lines) == 1
    (rows,) = (line for line in lines if line.startswith("- part-*.parquet"))
    assert rows.endswith("[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/) 6")
    assert "source not stated" not in written.text
    assert written.data.license == "cc-by-sa-4.0"


def provenance_of_simulated(folder):
    path = folder / "part.parquet"
    pd.DataFrame({"identifier": ["simulated-0-0", "simulated-1-0"], "smiles": ["C", "CC"]}).to_parquet(path)
    return provenance(path)


def test_the_shipped_card_is_what_its_records_say():
    shipped = Path(DEFAULT_MODEL, "README.md").read_text()
    (repo_id,) = re.findall(r'AutoProcessor.from_pretrained\("(.+?)"', shipped)
    assert str(model_card(DEFAULT_MODEL, *load_model(), repo_id)) == shipped


def test_what_is_not_recorded_is_said_to_be_unknown(tmp_path, model):
    text = card(tmp_path, model, license="cc-by-4.0").text
    assert "How this model was trained is not recorded." in text
    assert "No figures are recorded for this model." in text
    assert "None" not in text.split("## Parts")[1]


@pytest.mark.parametrize(
    ("previous", "reason"), [(None, "no training record"), (["runs/official-dreams"], "official-dreams")]
)
def test_no_licence_is_guessed(tmp_path, model, previous, reason):
    if previous is not None:
        builders.record_training(tmp_path, previous)
    with pytest.raises(ValueError, match=f"{reason}.*--license"):
        card(tmp_path, model)


def test_a_card_by_hand_is_kept(tmp_path, model):
    by_hand = "---\nlicense: mit\n---\n# By hand\n"
    (tmp_path / "README.md").write_text(by_hand)
    assert str(model_card(tmp_path, model, builders.processor(), REPO)) == by_hand
    assert card(tmp_path, model, license="cc0-1.0").data.license == "cc0-1.0"


@pytest.mark.parametrize("readme", [f"---\nlicense: mit\n---\n{MARKER}\n", "---\nlibrary_name: peft\ntags: []\n---\n"])
def test_a_card_by_a_program_is_written_anew(tmp_path, model, readme):
    (tmp_path / "README.md").write_text(readme)
    assert "# spec2mol-tiny" in card(tmp_path, model, license="cc-by-4.0").text


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("---\ntags: [chemistry]\n---\n", "name no license"),
        ("---\nlicense: other\n---\n", "name no license_name"),
        ("---\nlicense: [\n---\n", "cannot be read"),
        ("---\nlicense: mit\nmodel-index: 3\n---\n", "cannot be read"),
        ("no metadata at all", "name no license"),
    ],
)
def test_a_card_that_the_hub_would_refuse(tmp_path, model, readme, message):
    (tmp_path / "README.md").write_text(readme)
    with pytest.raises(ValueError, match=f"README.md: its metadata {message}"):
        card(tmp_path, model)


def test_a_model_that_reads_molecules_is_not_said_to_read_spectra(tmp_path):
    config = builders.graph_config()
    model = type(builders.model())(config)
    written = model_card(tmp_path, model, builders.processor(molecules="graph"), REPO, license="cc-by-4.0").text
    assert "their graphs go in" in written and "processor(molecules=[" in written and "evaluate-tasks" in written
    assert "spectrum" not in written.split("## How to cite")[0] and "precursor" not in written
