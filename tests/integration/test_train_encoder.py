"""Stages of the spectrum encoder alone, on a handful of molecules."""

import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModel, AutoModelForPreTraining, AutoModelForSequenceClassification

from spec2mol import DreamsForSpectralEmbedding, Spec2MolFeatureExtractor, Spec2MolForConditionalGeneration
from spec2mol.train import main
from tests import builders

MOLECULES = (*builders.MOLECULES, "CCF")
ENCODER = {name: value for name, value in builders.ENCODER.items() if name != "model_type"}


@pytest.fixture
def train(tmp_path):
    """Runs a stage in `tmp_path`; returns its folder."""
    rows = [
        builders.spectrum(4 * i + j, num_peaks=8, precursor_mz=100.0 + 50 * i) | {"smiles": smiles}
        for i, smiles in enumerate(MOLECULES)
        for j in range(4)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "data.parquet")
    for i, row in enumerate(rows):
        del row["smiles"]
        row |= {"run": "a.mzML", "retention_time": float(i)}
    pd.DataFrame(rows).to_parquet(tmp_path / "unlabelled.parquet")

    def run(stage, model, bf16=False, **fields):
        recipe = {
            "stage": stage,
            "model": model,
            "data": {"train": str(tmp_path / "data.parquet"), "validation": str(tmp_path / "data.parquet")},
            "arguments": {
                "max_steps": 30,
                "per_device_train_batch_size": 20,
                "learning_rate": 1e-2,
                "logging_steps": 1,
                "save_steps": 15,
                "eval_strategy": "steps",
                "eval_steps": 15,
                "report_to": "none",
                "disable_tqdm": True,
                "bf16": bf16,
            },
        }
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(recipe | fields))
        main([str(tmp_path / f"{stage}.yaml"), "--output", str(tmp_path / stage)])
        return tmp_path / stage

    return run


def history(folder, name):
    entries = json.loads((folder / "checkpoint-30/trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in entries if name in entry]


def ends(path):
    """The first and the last spectrum, and the same the other way round."""
    rows = pd.read_parquet(path).to_dict("records")
    return [rows[i] for i in (0, -1, -1, 0)]


NEW = {"config": ENCODER | {"mz_bin_size": 5.0}, "feature_extractor": {"num_peaks": 8}}


def test_spectrum_then_a_task(train, tmp_path):
    unlabelled = dict.fromkeys(("train", "validation"), str(tmp_path / "unlabelled.parquet"))
    folder = train("spectrum", NEW, data=unlabelled, augmentation={"mz_noise": 5.0})
    assert history(folder, "loss")[-1] < history(folder, "loss")[0]
    assert len(history(folder, "eval_loss")) == 2
    pretrained = AutoModelForPreTraining.from_pretrained(folder)
    assert not Spec2MolFeatureExtractor.from_pretrained(folder).conditions
    # The molecules elute one after the other: the first spectrum before the last.
    peaks = Spec2MolFeatureExtractor.from_pretrained(folder)(ends(unlabelled["train"]), return_tensors="pt")
    with torch.no_grad():
        first_last, last_first = pretrained(**peaks).retention_order_logits
    assert first_last > 0 > last_first
    assert (folder / "loss.png").exists() and (folder / "modeling_dreams.py").exists()

    folder = train("fingerprint", {"from": str(folder)}, trainable=["classifier.*"])
    classifier = AutoModelForSequenceClassification.from_pretrained(folder)
    assert (
        classifier.config.problem_type == "multi_label_classification" and classifier.classifier.out_features == 2048
    )
    assert history(folder, "eval_loss")[-1] < history(folder, "loss")[0]
    for name, weight in pretrained.dreams.state_dict().items():
        assert torch.equal(classifier.dreams.state_dict()[name], weight)  # frozen


def test_fluorine(train):
    folder = train("fluorine", NEW)
    assert history(folder, "eval_loss")[-1] < 0.1 < 0.4 < history(folder, "loss")[0]
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.label2id["fluorine"] == 1


@pytest.mark.parametrize("fields", [{}, {"num_labels": 64}])
def test_a_task_may_start_from_another(train, fields, tmp_path):
    start = train("fingerprint", {**NEW, "config": NEW["config"] | fields}, trainable=["classifier.*"])
    folder = train("fluorine", {"from": str(start)}, trainable=["classifier.*"])
    before, after = (AutoModelForSequenceClassification.from_pretrained(path) for path in (start, folder))
    assert after.classifier.out_features == 2 and after.config.problem_type == "single_label_classification"
    for name, weight in before.dreams.state_dict().items():
        assert torch.equal(after.dreams.state_dict()[name], weight)
    shutil.rmtree(start)
    back = AutoModelForSequenceClassification.from_pretrained(train("fingerprint", {"from": str(folder)}))
    assert back.classifier.out_features == 2048 and back.config.problem_type == "multi_label_classification"


@pytest.mark.parametrize("bf16", [False, True])
def test_similarity(train, bf16):
    folder = train("similarity", NEW, bf16=bf16)
    assert history(folder, "eval_loss")[-1] < 0.7 * history(folder, "loss")[0]
    assert DreamsForSpectralEmbedding.from_pretrained(folder).config.contrast_temperature == 0.1


def test_an_encoder_goes_into_the_whole_system_and_back(train, tmp_path):
    spectrum = train("spectrum", NEW)
    builders.tokenizer().save_pretrained(tmp_path / "tokenizer")
    config = {"encoder_config": builders.ENCODER, "text_config": builders.LANGUAGE_MODEL}
    config |= {"projector_config": builders.PROJECTOR, "num_query_tokens": builders.NUM_QUERIES}
    model = {"tokenizer": str(tmp_path / "tokenizer"), "config": config, "feature_extractor": {"num_peaks": 8}}
    train("align", model)

    (tmp_path / "align").rename(tmp_path / "start")
    folder = train(
        "align", {"from": str(tmp_path / "start"), "encoder": str(spectrum)}, trainable=["language_model.*"]
    )
    whole = Spec2MolForConditionalGeneration.from_pretrained(folder)
    expected = AutoModel.from_pretrained(spectrum).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in whole.model.encoder.state_dict().items())

    back = train("fluorine", {"from": str(folder)}, trainable=["classifier.*"])
    body = AutoModelForSequenceClassification.from_pretrained(back).dreams.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in body.items())


def test_conditions_are_refused(train):
    with pytest.raises(ValueError, match="stage spectrum has no condition_dropout"):
        train("spectrum", NEW, condition_dropout={"formula": 0.5})
