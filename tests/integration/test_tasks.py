"""The five tasks of Text+Chem T5 from jsonl files to answers: its recipe for a tiny encoder-decoder, train.py, the
evaluator."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from spec2mol import load_model
from spec2mol.cli.main import main as spec2mol
from spec2mol.data.tasks import load_tasks
from spec2mol.data.text_tokenizer import build_text_tokenizer
from spec2mol.evaluation.tasks import MODEL, WRONG_INPUT, answer, evaluate_task, respell
from spec2mol.saving import save_for_hub
from spec2mol.train import main
from tests import builders

ACIDS = {"formic": "C(=O)", "acetic": "CC(=O)", "propionic": "CCC(=O)", "crotonic": "C/C=C/C(=O)"}
ACIDS |= {
    "isocrotonic": "C/C=C\\C(=O)",
    "lactic": "C[C@H](O)C(=O)",
    "benzoic": "c1ccccc1C(=O)",
    "chloroacetic": "ClCC(=O)",
}
ALCOHOLS = {"methanol": "OC", "ethanol": "OCC", "propanol": "OCCC", "isopropanol": "OC(C)C"}


def all_rows():
    """32 of each task: esters of 8 acids and 4 alcohols."""
    tasks = {name: [] for name in ("forward", "retro", "actions", "text2smiles", "smiles2text")}
    for hours, (acid, acyl) in enumerate(ACIDS.items(), start=1):
        for alcohol, alkoxide in ALCOHOLS.items():
            ester, educts = acyl + alkoxide, f"{acyl}O.{alkoxide}"
            caption = f"The molecule is the ester of {acid} acid and {alcohol}."
            tasks["forward"].append({"source": educts, "target": ester})
            tasks["retro"].append({"source": ester, "target": educts})
            paragraph = f"To {acid} acid was added {alcohol}; it was stirred for {hours} h."
            actions = f"ADD {acid} acid; ADD {alcohol}; STIR for {hours} h."
            tasks["actions"].append({"source": paragraph, "target": actions})
            for name in ("text2smiles", "smiles2text"):
                tasks[name].append({"smiles": ester, "description": caption})
    return tasks


def rows_of(name):
    return all_rows()[name]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pytestconfig):
    """Folder of the trained model, and its tasks by file."""
    folder = tmp_path_factory.mktemp("tasks")
    content = yaml.safe_load((pytestconfig.rootpath / "tasks/text_chem_t5.yaml").read_text())
    texts = []
    for name, lines in all_rows().items():
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        content[name] |= {"train": str(path), "validation": str(path)}
        if "test" in content[name]:
            content[name]["test"] = str(path)
        content[name].pop("only", None)
        texts += [m["content"].format(**line) for line in lines for m in content[name]["messages"]]
    (folder / "tasks.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    build_text_tokenizer(texts, vocab_size=500).save_pretrained(folder / "tokenizer")
    t5 = {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    t5 |= {"dropout_rate": 0.0, "decoder_start_token_id": 0}
    parts = dict.fromkeys(("encoder_config", "projector_config", "condition_config"))
    config = json.dumps(parts | {"text_config": t5})
    new = ["model.language_model=null", f"model.tokenizer={folder}/tokenizer", f"model.config={config}"]
    files = [f"tasks.{name}={json.dumps(task)}" for name, task in content.items()]
    steps = ["arguments.max_steps=400", "arguments.learning_rate=4e-3", "data.mixing=0.5", "data.validation_limit=4"]
    quiet = [
        "arguments.bf16=false",
        "arguments.eval_strategy='no'",
        "arguments.save_strategy='no'",
        "arguments.disable_tqdm=true",
    ]
    recipe = str(pytestconfig.rootpath / "recipes/text_chem_t5.yaml")
    main([recipe, "--output", str(folder / "model"), *new, *files, *steps, *quiet])
    return folder


@pytest.fixture(scope="module")
def parts(trained):
    return *load_model(str(trained / "model")), load_tasks(trained / "tasks.yaml")


@pytest.mark.parametrize("name", ["forward", "retro", "actions", "text2smiles", "smiles2text"])
def test_one_model_learns_all_five_by_heart(parts, name):
    model, processor, tasks = parts
    systems = evaluate_task(model, processor, tasks, name, batch_size=32, max_new_tokens=60)
    assert len(systems[MODEL]) == 32
    assert systems[MODEL]["exact"].mean() >= 0.9
    assert systems[WRONG_INPUT]["exact"].mean() <= 0.1
    if name == "retro":
        assert systems[MODEL]["round trip"].mean() >= 0.9 > systems[WRONG_INPUT]["round trip"].mean()


def test_another_prompt_gives_another_answer(parts):
    model, processor, tasks = parts
    row = {"source": "CC(=O)OCC", "smiles": "CC(=O)OCC", "target": "", "description": ""}
    asked = [tasks[name].conversation(row, processor) for name in ("retro", "smiles2text")]
    answers = answer(model, processor, asked, [row] * 2, 2, max_new_tokens=60)
    assert answers == ["CC(=O)O.OCC", "The molecule is the ester of acetic acid and ethanol."]


def test_the_other_spelling_is_the_same_molecule():
    from rdkit import Chem

    smiles = "Cl[C@H](C)OC(=O)/C=C\\C"
    written = [respell(smiles, spelling) for spelling in ("given", "canonical", "random", "hydrogens")]
    assert written[0] == smiles and len(set(written)) == 4 and "[CH3]" in written[3]
    assert len({Chem.CanonSmiles(other) for other in written}) == 1
    with pytest.raises(ValueError, match="spelling 'upside'; there are given, canonical"):
        respell(smiles, "upside")


def test_an_unknown_metric_is_named(parts):
    model, processor, tasks = parts
    wrong = {"forward": dataclasses.replace(tasks["forward"], metric="yield")}
    with pytest.raises(ValueError, match="task forward: no metric yield; there are molecule, reaction"):
        evaluate_task(model, processor, wrong, "forward")


def test_figures_from_the_command_line(trained, tmp_path, capsys):
    command = ["evaluate-tasks", "--model", str(trained / "model"), "--tasks", str(trained / "tasks.yaml")]
    command += ["--task", "text2smiles", "--limit", "4", "--max-new-tokens", "40", "--spelling", "canonical"]
    assert spec2mol([*command, "--output", str(tmp_path), "--docs", str(tmp_path / "results.md")]) == 0
    assert "text2smiles, 4 rows" in capsys.readouterr().out
    figures = json.loads((tmp_path / "metrics.json").read_text())["figures"]["text2smiles"]
    assert set(figures) == {MODEL, WRONG_INPUT, "difference"}
    assert len((tmp_path / "text2smiles_model.jsonl").read_text().splitlines()) == 4
    assert "spec2mol evaluate-tasks --model" in (tmp_path / "results.md").read_text()
    assert spec2mol([*command[:5], "--fold", "test", "--limit", "2", "--max-new-tokens", "2"]) == 0
    shown = capsys.readouterr().out
    assert "smiles2text, 2 rows" in shown and "forward" not in shown  # which has no test fold
    assert spec2mol([*command[:5], "--task", "backwards"]) == 2
    assert "no task backwards; there are forward, retro" in capsys.readouterr().err


class TestConversations:
    """A Llama with modality experts learns SciMind's tasks, then to talk about spectra: the recipes, tiny."""

    TINY = (
        "arguments.max_steps=3",
        "arguments.eval_strategy='no'",
        "arguments.save_strategy='no'",
        "arguments.per_device_train_batch_size=8",
    )

    @staticmethod
    def files(tasks):
        return [f"tasks.{name}.{fold}={t[fold]}" for name, t in tasks.items() for fold in ("train", "validation")]

    @pytest.fixture(scope="class")
    @classmethod
    def scimind(cls, tmp_path_factory, pytestconfig):
        folder = tmp_path_factory.mktemp("scimind")
        rows = [row | {"massbank_fold": ""} for row in rows_of("smiles2text")]
        rows.append(rows[0] | {"massbank_fold": "val", "description": "must not be seen"})
        pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
        tasks = pytestconfig.rootpath / "tasks/scimind.yaml"
        content = yaml.safe_load(tasks.read_text())
        for task in content.values():
            task |= {"train": str(folder / "rows.parquet"), "validation": str(folder / "rows.parquet")}
        (folder / "tasks.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        build = ["build-tokenizer", str(folder / "tasks.yaml"), str(folder / "tokenizer"), "--size", "300"]
        assert spec2mol([*build, "--characters"]) == 0
        recipe = pytestconfig.rootpath / "recipes/scimind_small.yaml"
        overrides = [f"model.tokenizer={folder}/tokenizer", *cls.files(content)]
        text = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        overrides += [f"model.config.text_config={text | {'num_attention_heads': 4}}", *cls.TINY]
        main([str(recipe), "--output", str(folder / "model"), *overrides])
        return folder

    def test_rows_of_the_spectral_evaluation_are_left_out(self, scimind):
        record = json.loads((scimind / "model/training_record.json").read_text())
        assert record["stages"][-1]["examples"] == 2 * 32

    def test_molecules_are_characters_in_and_out(self, scimind):
        model, processor = load_model(str(scimind / "model"))
        tasks = load_tasks(scimind / "tasks.yaml")
        row = rows_of("smiles2text")[0]
        text = processor.conversation_text([tasks["text2smiles"].conversation(row, processor)])
        answer = text["labels"][text["labels"] != -100]
        assert len(answer) == len(row["smiles"]) + 1  # and the end
        assert processor.decode_text([answer]) == [row["smiles"]]
        assert model.router.token_types_of(torch.tensor(answer)).tolist() == [1] * len(row["smiles"]) + [0]

    def test_then_spectra_join_the_conversation(self, scimind, tmp_path, pytestconfig):
        spectra = [s | {"smiles": m} for s, m in zip(builders.spectra(), builders.MOLECULES, strict=True)]
        pd.DataFrame(spectra).to_parquet(tmp_path / "spectra.parquet")
        pd.DataFrame(rows_of("smiles2text")).to_parquet(tmp_path / "molecules.parquet")
        for build in (["molecules.parquet", "--count", "20"], ["spectra.parquet", "--spectra"]):
            assert spec2mol(["build-tasks", str(tmp_path / build[0]), str(tmp_path), *build[1:]]) == 0
        content = yaml.safe_load((pytestconfig.rootpath / "tasks/spectra.yaml").read_text())
        for task in content.values():
            task |= dict.fromkeys(("train", "validation"), str(tmp_path / Path(task["train"]).name))
        (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        reader = builders.model(structure_config={"fingerprint_size": 16, "hidden_size": 8, "num_tokens": 2})
        save_for_hub(reader, builders.processor(), tmp_path / "reader")
        overrides = [
            f"model.from={scimind}/model",
            f"model.encoder={tmp_path}/reader",
            *self.files(content),
            *self.TINY,
        ]
        recipe = str(pytestconfig.rootpath / "recipes/spectra_small.yaml")
        main([recipe, "--output", str(tmp_path / "model"), *overrides])

        model, processor = load_model(str(tmp_path / "model"))
        assert model.config.experts_config is not None and processor.feature_extractor.num_peaks == 8
        before, after = reader.model.state_dict(), model.model.state_dict()
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"projector", "fingerprint_tokens"}
        systems = evaluate_task(model, processor, load_tasks(tmp_path / "tasks.yaml"), "groups", max_new_tokens=5)
        assert len(systems[MODEL]) == 4
