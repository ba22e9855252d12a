"""Saved folders load by the Auto classes in a fresh process where spec2mol is not installed."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers.dynamic_module_utils import get_relative_imports

from spec2mol import (
    DreamsConfig,
    DreamsForSequenceClassification,
    DreamsForSpectralEmbedding,
    Spec2MolFeatureExtractor,
    Spec2MolForConditionalGeneration,
    load_model,
    predict_molecules,
)
from spec2mol.hub.fresh_process import SUSPECTS
from spec2mol.hub.verify import VerificationError, expect, run_fresh_process, verify
from spec2mol.saving import save_for_hub
from tests import builders

ROOT = Path(__file__).parents[1]
CORE = sorted({*ROOT.glob("*_spec2mol.py"), *ROOT.glob("modeling_*.py")})
SHIPPED = {
    "characters_spec2mol.py",
    "chemistry_spec2mol.py",
    "configuration_spec2mol.py",
    "distributed_spec2mol.py",
    "feature_extraction_spec2mol.py",
    "formula_constraint_spec2mol.py",
    "formula_weights_spec2mol.py",
    "formulas_spec2mol.py",
    "fragment_graph_spec2mol.py",
    "fragments_spec2mol.py",
    "generation_spec2mol.py",
    "modeling_conditions.py",
    "modeling_dreams.py",
    "modeling_fragmentation.py",
    "modeling_gin.py",
    "modeling_modality_experts.py",
    "modeling_multilevel.py",
    "modeling_qformer.py",
    "modeling_structure.py",
    "modeling_spec2mol.py",
    "modeling_unimol.py",
    "molecules_spec2mol.py",
    "pipeline_spec2mol.py",
    "processing_spec2mol.py",
    "ranking_spec2mol.py",
    "sampling_spec2mol.py",
}
LIBRARIES = set(
    "accelerate datasets evaluate huggingface_hub ijson matchms numpy pandas peft pyarrow pyteomics rdkit rich "
    "safetensors selfies tokenizers torch tqdm transformers yaml".split()
)


def test_every_answer_is_compared(saved):
    assert saved[1]["answers"].keys() == SUSPECTS.keys()


def test_local_folder(saved, tmp_path):
    folder, expected = saved
    assert run_fresh_process(folder, expected, tmp_path).startswith("the same without spec2mol: features")


def test_hub_name(saved):
    """The Hub checks the imports of every file, a local load those of the entry files."""
    folder, expected = saved
    assert verify(folder, "someone/spec2mol-tiny", expected).startswith("the same without spec2mol: features")


@pytest.mark.parametrize("reads", ["conformer", "graph"])
def test_encoders_of_molecules(reads, tmp_path):
    """They are told molecules, and write text."""
    config = builders.conformer_config() if reads == "conformer" else builders.graph_config()
    config.text_config.max_position_embeddings = 128
    model = builders.randomized(Spec2MolForConditionalGeneration(config))
    processor = builders.processor(molecules=reads)
    processor.num_query_tokens = config.num_query_tokens
    save_for_hub(model, processor, tmp_path / "saved")
    expected = expect(model, processor, [{"smiles": smiles} for smiles in builders.MOLECULES])
    assert expected["targets"] == ["C", "CC", "CCC", "CCCC"]
    assert ("coordinates" in expected["queries"][0]) == (reads == "conformer")
    assert ("scores" in expected["answers"]) == (reads == "conformer")  # A Q-Former compares.
    told = verify(tmp_path / "saved", "someone/molecules-tiny", expected)
    assert told.startswith("the same without spec2mol: features") and "decoded" in told
    model.language_model.transformer.ln_f.weight.data *= 1.1
    with pytest.raises(VerificationError, match="logits differ"):
        verify(tmp_path / "saved", "someone/molecules-tiny", expect(model, processor, expected["queries"]))


def test_all_code_ships_and_nothing_else(saved):
    folder, _ = saved
    assert {path.name for path in folder.glob("*.py")} == SHIPPED
    assert all((folder / name).read_bytes() == (ROOT / name).read_bytes() for name in SHIPPED)


def test_half_precision_files_load_in_full_precision(tmp_path):
    model = builders.model()
    save_for_hub(model, builders.processor(), tmp_path / "half", half=True)
    save_for_hub(model, builders.processor(), tmp_path / "full")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded, info = Spec2MolForConditionalGeneration.from_pretrained(tmp_path / "half", output_loading_info=True)
    assert not info["missing_keys"]
    expected = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name].half().float())


def test_pipeline(saved, tmp_path):
    """A spectrum, a file and both, where spec2mol is not installed; also what cannot be answered."""
    folder, _ = saved
    ethanol = {"mzs": [31.0178], "intensities": [1.0], "precursor_mz": 47.0491}
    ethanol |= {"adduct": "[M+H]+", "ion_mode": "positive"}
    others = [{"precursor_mz": 75.0804, "collision_energy": 20.0}, {"formula": "C3H8O"}, {"formula": "C2H6O"}]
    spectra = [ethanol | other for other in others]
    lines = []
    for spectrum in spectra:
        fields = {"PEPMASS": "precursor_mz", "ADDUCT": "adduct", "FORMULA": "formula"}
        lines += ["BEGIN IONS", "IONMODE=positive", "CHARGE=1+"]
        lines += [f"{field}={spectrum[name]}" for field, name in fields.items() if name in spectrum]
        lines += ["COLLISION_ENERGY=20.0 eV"] if "collision_energy" in spectrum else []
        lines += ["31.0178 1.0", "END IONS", ""]
    (tmp_path / "spectra.mgf").write_text("\n".join(lines))
    script = f"""
import json, sys
sys.modules["spec2mol"] = None  # importing it fails
import torch
from transformers import pipeline
torch.set_num_threads(1)
answer = pipeline("spectrum-to-molecule", model=r"{folder}", trust_remote_code=True, device="cpu", num_samples=8)
spectra = json.loads('{json.dumps(spectra)}')
answers = [answer(spectra[0], top_k=3), answer("spectra.mgf", top_k=3), answer([spectra[0], "spectra.mgf"], top_k=3)]
print(json.dumps(answers))
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-I", "-c", script]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    def rounded(ranked):
        return [answer | {"score": round(answer["score"], 3)} for answer in ranked]

    one, file, (first, second) = json.loads(run.stdout.splitlines()[-1])
    expected = [
        rounded(candidate._asdict() for candidate in candidates)
        for candidates in predict_molecules(*load_model(str(folder)), spectra, top_k=3, num_samples=8)
    ]
    assert [bool(answers) for answers in expected] == [True, False, True]
    assert list(map(rounded, file)) == list(map(rounded, second)) == expected
    assert rounded(one) == rounded(first) == expected[0]
    assert "spectrum 1: formula C3H8O: as [M+H]+ it has m/z 61.0648" in run.stderr


def test_heads_of_the_encoder(tmp_path):
    """A classifier and an embedding model of spectra, each from its own folder."""
    torch.manual_seed(0)
    config = DreamsConfig(**builders.ENCODER)
    feature_extractor = Spec2MolFeatureExtractor(num_peaks=8, conditions=False)
    peaks = feature_extractor(builders.spectra(), return_tensors="pt")
    classifier = DreamsForSequenceClassification(
        DreamsConfig(**builders.ENCODER, id2label={0: "no fluorine", 1: "fluorine"})
    ).eval()
    embedder = DreamsForSpectralEmbedding(config).eval()
    save_for_hub(classifier, feature_extractor, tmp_path / "classifier")
    save_for_hub(embedder, feature_extractor, tmp_path / "embedder")
    with torch.no_grad():
        torch.save(
            (dict(peaks), classifier(**peaks).logits, embedder(**peaks).embeddings),
            tmp_path / "expected.pt",
        )
    script = f"""
import sys
sys.modules["spec2mol"] = None  # importing it fails
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification
folder = r"{tmp_path}"
peaks, logits, embeddings = torch.load(folder + "/expected.pt")
classifier = AutoModelForSequenceClassification.from_pretrained(folder + "/classifier", trust_remote_code=True)
embedder = AutoModel.from_pretrained(folder + "/embedder", trust_remote_code=True)
assert AutoFeatureExtractor.from_pretrained(folder + "/classifier", trust_remote_code=True).num_peaks == 8
assert classifier.config.id2label == {{0: "no fluorine", 1: "fluorine"}}
with torch.no_grad():
    torch.testing.assert_close(classifier(**peaks).logits, logits)
    torch.testing.assert_close(embedder(**peaks).embeddings, embeddings)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    run = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, env=environment, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


def imports(path):
    """(module, level, names, guarded by `try`) of each import in a file."""
    tree = ast.parse(path.read_text())
    guarded = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, id(node) in guarded
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node.level, id(node) in guarded


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_only_what_a_stranger_has(path):
    allowed = {"torch", "transformers", "numpy", "huggingface_hub"} | sys.stdlib_module_names
    for module, level, guarded in imports(path):
        if level:
            assert level == 1 and module and "." not in module, f"only `from .sibling import name` ships, not {module}"
            assert ROOT / f"{module}.py" in CORE, f"{module} is no part of the core"
        else:
            package = module.partition(".")[0]
            assert package != "__future__"  # Annotations as strings break `config: Spec2MolConfig`.
            optional = {"rdkit", "selfies"} | ({"matchms", "spec2mol"} if path.stem == "pipeline_spec2mol" else set())
            assert package in allowed or (package in optional and guarded), package


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_text_holds_no_other_relative_imports(path):
    """transformers looks for them by a regular expression, also in docstrings."""
    assert set(get_relative_imports(path)) == {module for module, level, _ in imports(path) if level}
    assert not re.search(r"^\s*import\s+\.", path.read_text(), flags=re.MULTILINE)


def test_the_core_was_found():
    assert SHIPPED <= {path.name for path in CORE}


def test_no_name_hides_a_library():
    """`python train.py` puts the repository root in front of all libraries."""
    names = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not names & (LIBRARIES | sys.stdlib_module_names)
