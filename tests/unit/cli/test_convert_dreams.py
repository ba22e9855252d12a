import os
import pickle
import subprocess
import sys
import types
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from spec2mol import DreamsConfig, DreamsForPreTraining, DreamsForSpectralEmbedding, Spec2MolFeatureExtractor
from spec2mol.cli.convert_dreams import convert_dreams
from spec2mol.cli.main import main
from spec2mol.modeling_dreams import fourier_frequencies
from tests.reference_dreams import reference_forward

FIXTURE = Path(__file__).parents[2] / "fixtures" / "dreams_tiny"
SSL, EMBEDDING = FIXTURE / "ssl_model.ckpt", FIXTURE / "embedding_model.ckpt"
# Differs from the fixture and from the official model in everything that a checkpoint tells about itself.
OTHER = {
    "peak_hidden_size": 12,
    "fourier_hidden_size": 36,
    "peak_num_layers": 2,
    "fourier_intermediate_size": 20,
    "fourier_num_layers": 4,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_mz": 500.0,
    "min_wavelength": 1e-3,
    "num_peaks": 24,
    "mz_bin_size": 2.0,
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "focal_loss_gamma": 2.0,
    "retention_order_weight": 0.5,
}


# Official checkpoints, written from our models


def original_state(model, prefix="") -> dict[str, torch.Tensor]:
    """A model's weights under the original's names."""
    ours, config, state = model.state_dict(), model.config, {}

    def copy(new, old):
        for kind in ("weight", "bias"):
            if f"{new}.{kind}" in ours:
                state[f"{old}.{kind}"] = ours[f"{new}.{kind}"]

    frequencies = fourier_frequencies(config.min_wavelength, config.max_mz, torch.device("cpu"))[None]
    state |= {"fourier_enc.b": frequencies, "fourier_enc.Fourier frequencies": frequencies}
    for i in range(config.fourier_num_layers):
        copy(f"dreams.embeddings.fourier_mlp.layers.{i}", f"ff_fourier.ff.{3 * i}")
    for i in range(config.peak_num_layers):
        copy(f"dreams.embeddings.peak_mlp.layers.{i}", f"ff_peak.ff.{3 * i}")
    for i in range(config.num_hidden_layers):
        names = [f"dreams.layers.{i}.attention.{name}_proj.weight" for name in ("q", "k", "v", "out")]
        state[f"transformer_encoder.atts.{i}.weights"] = torch.cat([ours[name] for name in names])
        copy(f"dreams.layers.{i}.up_proj", f"transformer_encoder.ffs.{i}.in_proj")
        copy(f"dreams.layers.{i}.down_proj", f"transformer_encoder.ffs.{i}.out_proj")
        copy(f"dreams.layers.{i}.attention_norm", f"transformer_encoder.scales.{2 * i}")
        copy(f"dreams.layers.{i}.feed_forward_norm", f"transformer_encoder.scales.{2 * i + 1}")
    copy("dreams.norm", f"transformer_encoder.scales.{2 * config.num_hidden_layers}")
    copy("mz_head", "ff_out.ff.0")
    copy("retention_order_head", "ro_out")
    state = {f"{prefix}{name}": weight for name, weight in state.items()}
    copy("embedding_head", "head")
    if prefix:  # The official embedding model carries the heads of pre-training, which it does not use.
        state[f"{prefix}ff_out.ff.0.weight"] = torch.zeros(round(config.max_mz / config.mz_bin_size), 1)
    return state


def arguments(config, **changes) -> Namespace:
    """The training arguments that the original's checkpoints hold."""
    return Namespace(
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        d_peak=config.peak_hidden_size,
        d_fourier=config.fourier_hidden_size,
        train_objective="mask_mz_hot",
        hot_mz_bin_size=config.mz_bin_size,
        fourier_strategy="lin_float_int",
        graphormer_mz_diffs=config.mass_difference_bias,
        graphormer_parametrized=False,
        charge_feature=False,
        vanilla_transformer=False,
        dropout=config.hidden_dropout_prob,
        att_dropout=config.attention_probs_dropout_prob,
        focal_loss_gamma=config.focal_loss_gamma,
        ret_order_loss_w=config.retention_order_weight,
        ff_out_depth=1,
        no_transformer_bias=True,
        no_ffs_bias=False,
        attn_mech="dot-product",
        pre_norm=True,
        scnorm=False,
        **changes,
    )


def write_checkpoint(path, state, args, num_peaks=60, **others) -> Path:
    """As Lightning writes it, with an object of the package `dreams`, which does not exist here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("dreams", "dreams.utils", "dreams.utils.data"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        preprocessor = type("SpectrumPreprocessor", (), {"__module__": "dreams.utils.data"})
        sys.modules["dreams.utils.data"].SpectrumPreprocessor = preprocessor
        spec_preproc = preprocessor()
        spec_preproc.n_highest_peaks = num_peaks
        hyper_parameters = {"args": args, "spec_preproc": spec_preproc}
        torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": hyper_parameters} | others, path)
    return path


def other_model(cls=DreamsForPreTraining, **fields):
    """In eval mode, with random weights so large that every input matters."""
    torch.manual_seed(0)
    model = cls(DreamsConfig(**OTHER | fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return model


def other_checkpoint(path, **changes) -> Path:
    model = other_model()
    return write_checkpoint(path, original_state(model), arguments(model.config, **changes), model.config.num_peaks)


def random_peaks():
    rng = np.random.default_rng(0)
    spectra = [
        {"mzs": rng.uniform(50, 450, n), "intensities": rng.uniform(0.1, 1, n), "precursor_mz": 460.0}
        for n in (1, 7, 24, 40)
    ]
    return Spec2MolFeatureExtractor(num_peaks=24, conditions=False)(spectra, return_tensors="pt")["peaks"]


def convert(checkpoint, output, capsys, *options) -> str:
    """Runs the command, which must fail; the one line it writes."""
    assert main(["convert-dreams", str(checkpoint), str(output), *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("spec2mol: error: ") and shown.err.count("\n") == 1
    assert not output.exists()
    return shown.err


class TestSizesComeFromTheCheckpoint:
    def test_config(self, tmp_path):
        model = convert_dreams(other_checkpoint(tmp_path / "other.ckpt"), tmp_path / "out")
        assert {name: getattr(model.config, name) for name in OTHER} == OTHER
        assert Spec2MolFeatureExtractor.from_pretrained(tmp_path / "out").num_peaks == 24

    @pytest.mark.parametrize("mass_difference_bias", [True, False])
    def test_outputs(self, mass_difference_bias, tmp_path):
        source = other_model(mass_difference_bias=mass_difference_bias)
        path = write_checkpoint(tmp_path / "other.ckpt", original_state(source), arguments(source.config), 24)
        convert_dreams(path, tmp_path / "out")
        converted = DreamsForPreTraining.from_pretrained(tmp_path / "out")
        peaks = random_peaks()
        expected = reference_forward(source.dreams, peaks).hidden_states[-1]
        with torch.no_grad():
            output = converted(peaks)
            assert torch.allclose(output.last_hidden_state, expected, rtol=0, atol=1e-5 * expected.abs().max())
            assert torch.allclose(output.mz_logits, source.mz_head(expected), rtol=0, atol=1e-4)
            assert torch.equal(output.retention_order_logits, source(peaks).retention_order_logits)

    def test_the_official_size(self, tmp_path, monkeypatch):
        """7 layers of 1024. The weights are single numbers seen as matrices: the file stays small."""
        with torch.device("meta"):
            official = DreamsForPreTraining(DreamsConfig())
        state = {
            name: weight if name.startswith("fourier_enc") else torch.zeros(1).expand(weight.shape)
            for name, weight in original_state(official).items()
        }
        path = write_checkpoint(tmp_path / "ssl_model.ckpt", state, arguments(official.config))
        assert path.stat().st_size < 1e6
        monkeypatch.setattr(DreamsForPreTraining, "_init_weights", lambda self, module: None)
        monkeypatch.setattr(DreamsForPreTraining, "save_pretrained", lambda self, folder, **_: None)
        model = convert_dreams(path, tmp_path / "out")
        default, config = DreamsConfig().to_dict(), model.config.to_dict()
        assert {name: config[name] for name in default} == default
        assert model.num_parameters() == official.num_parameters()
        assert not model.dreams.layers[6].down_proj.weight.any()

    def test_num_peaks_on_request(self, tmp_path):
        assert main(["convert-dreams", str(SSL), str(tmp_path / "out"), "--num-peaks", "33"]) == 0
        assert DreamsConfig.from_pretrained(tmp_path / "out").num_peaks == 33
        assert Spec2MolFeatureExtractor.from_pretrained(tmp_path / "out").num_peaks == 33


class TestEmbeddingModel:
    def test_heads_come_from_the_model_beside_it(self, tmp_path):
        source = other_model(DreamsForSpectralEmbedding, num_peaks=100)
        other_checkpoint(tmp_path / "ssl_model.ckpt")
        path = tmp_path / "embedding_model.ckpt"
        torch.save({"state_dict": original_state(source, "backbone."), "hyper_parameters": {"lr": 3e-6}}, path)
        converted = convert_dreams(path, tmp_path / "out").eval()
        assert type(converted) is DreamsForSpectralEmbedding
        assert converted.config.num_attention_heads == OTHER["num_attention_heads"]
        assert converted.config.num_peaks == 100
        with torch.no_grad():
            assert torch.equal(converted(random_peaks()).embeddings, source(random_peaks()).embeddings)

    def test_without_it(self, tmp_path, capsys):
        path = tmp_path / "embedding_model.ckpt"
        path.write_bytes(EMBEDDING.read_bytes())
        message = convert(path, tmp_path / "out", capsys)
        assert "hidden size 32" in message and "put the ssl_model.ckpt it was trained from beside it" in message


@pytest.mark.parametrize("kind", ["ssl", "embedding"])
def test_command(kind, tmp_path, capsys):
    assert main(["convert-dreams", str(FIXTURE / f"{kind}_model.ckpt"), str(tmp_path / "out")]) == 0
    name = "DreamsForPreTraining" if kind == "ssl" else "DreamsForSpectralEmbedding"
    assert name in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "modeling_dreams.py"} <= files
    assert not any(name.endswith((".bin", ".pkl", ".ckpt")) for name in files)


def test_a_converted_folder_needs_no_spec2mol(tmp_path):
    """In a fresh isolated process, in another directory, offline, where `spec2mol` cannot be imported."""
    for kind in ("ssl", "embedding"):
        convert_dreams(FIXTURE / f"{kind}_model.ckpt", tmp_path / kind, num_peaks=60)
    script = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spec2mol":
            raise ModuleNotFoundError("spec2mol is hidden")

sys.meta_path.insert(0, Hidden())
import numpy as np, torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

def load(auto, kind):
    return auto.from_pretrained(r"{tmp_path}" + "/" + kind, trust_remote_code=True)

fixture = np.load(r"{FIXTURE / "reference.npz"}")
raw = [np.split(fixture[name], fixture["peak_counts"].cumsum()[:-1]) for name in ("raw_mz", "raw_intensity")]
spectra = [np.stack(pair, axis=1) for pair in zip(*raw)]
extractors = [load(AutoFeatureExtractor, kind) for kind in ("ssl", "embedding")]
ssl, embedding = (e(spectra, precursor_mz=fixture["precursor_mz"], return_tensors="pt") for e in extractors)
with torch.no_grad():
    output = load(AutoModelForPreTraining, "ssl")(**ssl)
    embeddings = load(AutoModel, "embedding")(**embedding).embeddings
np.savez("outputs.npz", mz_logits=output.mz_logits, hidden=output.last_hidden_state, embedding=embeddings)
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-I", "-c", script], cwd=elsewhere, env=os.environ | offline, check=True)
    outputs, expected = np.load(elsewhere / "outputs.npz"), np.load(FIXTURE / "reference.npz")
    for name in ("mz_logits", "hidden", "embedding"):
        reference = expected[name][:, : outputs[name].shape[1]]
        assert np.abs(outputs[name] - reference).max() <= 1e-5 * np.abs(reference).max()


def test_optimizer_states_are_not_read(tmp_path):
    """They are twice the size of the weights. Here their tensors are cut out of the file."""
    source, path = other_model(), tmp_path / "complete.ckpt"
    moments = {name: torch.ones(12_345) for name in ("exp_avg", "exp_avg_sq")}
    write_checkpoint(
        path,
        original_state(source),
        arguments(source.config),
        optimizer_states=[{"state": {0: moments}, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
        callbacks={"ModelCheckpoint": {"best_model_path": Path("best.ckpt")}},
    )
    with zipfile.ZipFile(path) as complete, zipfile.ZipFile(tmp_path / "cut.ckpt", "w") as cut:
        for member in complete.infolist():
            if member.file_size != 4 * 12_345:
                cut.writestr(member.filename, complete.read(member))
        assert len(cut.namelist()) == len(complete.namelist()) - 2
    converted = convert_dreams(tmp_path / "cut.ckpt", tmp_path / "out")
    assert all(torch.equal(weight, converted.state_dict()[name]) for name, weight in source.state_dict().items())


class Hostile:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class TestBadInput:
    @pytest.mark.parametrize("where", ["whole", "arguments", "weights"])
    def test_a_hostile_pickle_executes_nothing(self, where, tmp_path, capsys):
        trace, path = tmp_path / "trace", tmp_path / "hostile.ckpt"
        hostile = Hostile(f"touch {trace}")
        state = original_state(other_model())
        if where == "whole":
            torch.save(hostile, path)
        elif where == "weights":
            torch.save({"state_dict": state | {"ro_out.weight": hostile}}, path)
        else:
            write_checkpoint(path, state, hostile, callbacks=[hostile])
        message = convert(path, tmp_path / "out", capsys)
        assert str(path) in message
        assert not trace.exists()
        pickle.loads(pickle.dumps(hostile))
        assert trace.exists()  # It would have worked.

    def test_missing(self, tmp_path, capsys):
        assert "no such file" in convert(tmp_path / "none.ckpt", tmp_path / "out", capsys)

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"state_dict": {}})], ids=str)
    def test_not_an_archive(self, content, tmp_path, capsys):
        path = tmp_path / "bad.ckpt"
        path.write_bytes(content)
        assert "not a torch checkpoint" in convert(path, tmp_path / "out", capsys)

    def test_legacy_format(self, tmp_path, capsys):
        path = tmp_path / "legacy.ckpt"
        torch.save({"state_dict": {}}, path, _use_new_zipfile_serialization=False)
        assert "not a torch checkpoint" in convert(path, tmp_path / "out", capsys)

    def test_another_zip(self, tmp_path, capsys):
        path = tmp_path / "bad.ckpt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert "not a torch checkpoint" in convert(path, tmp_path / "out", capsys)

    @pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
    def test_truncated(self, kept, tmp_path, capsys):
        content, path = SSL.read_bytes(), tmp_path / "truncated.ckpt"
        path.write_bytes(content[: int(kept * len(content))])
        assert "not a torch checkpoint" in convert(path, tmp_path / "out", capsys)

    def test_damaged_weights(self, tmp_path, capsys):
        path = other_checkpoint(tmp_path / "damaged.ckpt")
        content = bytearray(path.read_bytes())
        content[content.index(other_model().mz_head.weight.detach().numpy().tobytes()) + 100] ^= 0xFF
        path.write_bytes(content)
        assert "is damaged" in convert(path, tmp_path / "out", capsys)

    @pytest.mark.parametrize("content", [[1, 2], {"weights": 1}, {"state_dict": {"a": torch.ones(1)}}], ids=str)
    def test_another_torch_file(self, content, tmp_path, capsys):
        path = tmp_path / "bad.ckpt"
        torch.save(content, path)
        assert "not a DreaMS checkpoint" in convert(path, tmp_path / "out", capsys)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("charge_feature", True),
            ("vanilla_transformer", True),
            ("graphormer_parametrized", True),
            ("fourier_strategy", "random"),
            ("attn_mech", "additive_v"),
            ("ff_out_depth", 2),
            ("train_objective", "mask_mz"),
        ],
    )
    def test_unsupported_arguments(self, name, value, tmp_path, capsys):
        model = other_model()
        args = arguments(model.config)
        setattr(args, name, value)
        path = write_checkpoint(tmp_path / "other.ckpt", original_state(model), args)
        assert f"{name}={value} is not supported" in convert(path, tmp_path / "out", capsys)

    def test_missing_weights(self, tmp_path, capsys):
        model = other_model()
        state = original_state(model)
        del state["ro_out.weight"]
        path = write_checkpoint(tmp_path / "other.ckpt", state, arguments(model.config))
        assert "no 'ro_out.weight' in it" in convert(path, tmp_path / "out", capsys)

    def test_other_shapes(self, tmp_path, capsys):
        model = other_model()
        state = original_state(model) | {"transformer_encoder.ffs.1.in_proj.weight": torch.ones(3, 3)}
        path = write_checkpoint(tmp_path / "other.ckpt", state, arguments(model.config))
        assert "not the shapes of DreaMS" in convert(path, tmp_path / "out", capsys)

    def test_other_frequencies(self, tmp_path, capsys):
        model = other_model()
        state = original_state(model)
        state["fourier_enc.b"] = state["fourier_enc.b"] * 1.001
        path = write_checkpoint(tmp_path / "other.ckpt", state, arguments(model.config))
        assert "Fourier frequencies are not those" in convert(path, tmp_path / "out", capsys)

    def test_the_output_is_a_file(self, tmp_path, capsys):
        (tmp_path / "out").write_text("mine")
        assert main(["convert-dreams", str(SSL), str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert (tmp_path / "out").read_text() == "mine"
