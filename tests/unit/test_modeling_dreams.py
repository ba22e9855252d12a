import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, cross_entropy, normalize

from spec2mol import (
    DreamsConfig,
    DreamsForPreTraining,
    DreamsForSequenceClassification,
    DreamsForSpectralEmbedding,
    DreamsModel,
)
from spec2mol.cli.convert_dreams import convert_dreams, read_checkpoint
from spec2mol.modeling_dreams import fourier_frequencies
from tests import builders
from tests.reference_dreams import pad, reference_forward

FIXTURE = Path(__file__).parents[1] / "fixtures" / "dreams_tiny"
TINY = {
    "peak_hidden_size": 6,
    "fourier_hidden_size": 26,
    "fourier_intermediate_size": 16,
    "fourier_num_layers": 3,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_peaks": 12,
    "mz_bin_size": 5.0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CPU = torch.device("cpu")
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def tiny(cls=DreamsModel, **fields):
    """In eval mode, with random weights so large that every input matters."""
    torch.manual_seed(0)
    model = cls(DreamsConfig(**TINY | fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return model


def random_peaks(*counts, length=None, seed=0):
    """One spectrum for each number of peaks, `(batch, length, 2)`, by default as long as the longest."""
    rng = np.random.default_rng(seed)
    peaks = np.zeros((len(counts), length or max(counts) + 1, 2), np.float32)
    for row, count in zip(peaks, counts, strict=True):
        row[0] = rng.uniform(100, 900), 1.1
        row[1 : count + 1, 0] = np.sort(rng.uniform(50, 900, count))
        row[1 : count + 1, 1] = rng.uniform(0.01, 1, count)
    return torch.from_numpy(peaks)


def assert_close(actual, expected, tolerance=1e-5):
    """Relative to the whole tensor, by its norm and by its largest number."""
    assert actual.shape == expected.shape
    difference = (actual.float() - expected.float()).detach()
    assert difference.norm() <= tolerance * expected.norm()
    assert difference.abs().max() <= tolerance * expected.abs().max()


@pytest.fixture(scope="module")
def original():
    """What the original network made of the fixture's spectra."""
    return {name: torch.from_numpy(array) for name, array in np.load(FIXTURE / "reference.npz").items() if array.ndim}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The fixture's two official checkpoints, converted."""
    root = tmp_path_factory.mktemp("converted")
    for kind in ("ssl", "embedding"):
        convert_dreams(FIXTURE / f"{kind}_model.ckpt", root / kind)
    return root


class TestEqualsTheOriginal:
    @torch.no_grad()
    def test_states_and_logits_of_the_pretrained_model(self, folders, original):
        output = DreamsForPreTraining.from_pretrained(folders / "ssl")(original["inputs"])
        assert_close(output.last_hidden_state, original["hidden"])
        assert_close(output.mz_logits, original["mz_logits"])

    @torch.no_grad()
    def test_embeddings(self, folders, original):
        model = DreamsForSpectralEmbedding.from_pretrained(folders / "embedding", num_peaks=60)
        assert_close(model(original["inputs"]).embeddings, original["embedding"])

    @torch.no_grad()
    def test_padding_is_free(self, folders, original):
        """The original needs 61 tokens of every spectrum; here any common length gives the same."""
        model = DreamsModel.from_pretrained(folders / "ssl")
        counts = (original["inputs"][..., 0] != 0).sum(1)
        for count, peaks, expected in zip(counts, original["inputs"], original["hidden"], strict=True):
            assert_close(model(peaks[None, :count]).last_hidden_state[0], expected[:count])

    def test_the_package_itself(self, folders):
        """Runs where the original is installed; it pins packages of 2023, and `dreams` on PyPI is another project."""
        try:
            from dreams.models.dreams.dreams import DreaMS
            from dreams.utils.dformats import DataFormatA
        except ImportError as error:
            pytest.skip(f"needs the original DreaMS, github.com/pluskal-lab/DreaMS ({error})")
        content = read_checkpoint(FIXTURE / "ssl_model.ckpt")
        args = Namespace(**vars(content["hyper_parameters"]["args"]) | {"dformat": DataFormatA()})
        network = DreaMS(args, spec_preproc=None).eval()
        network.load_state_dict({name: stored.tensor() for name, stored in content["state_dict"].items()})
        peaks = random_peaks(1, 7, 33, 60, length=61)
        with torch.no_grad():
            assert_close(DreamsModel.from_pretrained(folders / "ssl")(peaks).last_hidden_state, network(peaks))


class TestOnePaddingTokenForAll:
    """Merged padding against the reference, which pads every spectrum to `num_peaks + 1` tokens."""

    @pytest.mark.parametrize("mass_difference_bias", [True, False])
    @pytest.mark.parametrize("counts", [(1,), (3,), (12,), (1, 5, 12, 0), (2, 2, 11)], ids=str)
    @pytest.mark.parametrize("extra", [0, 1], ids=["tight", "padded"])
    def test_every_state_of_every_layer(self, counts, mass_difference_bias, extra):
        model = tiny(mass_difference_bias=mass_difference_bias)
        peaks = random_peaks(*counts, length=min(max(counts) + 1 + extra, 13))
        expected = reference_forward(model, peaks).hidden_states
        with torch.no_grad():
            output = model(peaks, output_hidden_states=True)
        assert len(output.hidden_states) == len(expected) == model.config.num_hidden_layers + 1
        for states, reference in zip(output.hidden_states, expected, strict=True):
            assert_close(states, reference[:, : peaks.shape[1]])
        assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
        assert torch.equal(output.attention_mask, (peaks[..., 0] != 0).long())

    def test_padding_has_a_say(self):
        """Else the tests above would prove nothing."""
        peaks = random_peaks(3)
        with torch.no_grad():
            few, many = (tiny(num_peaks=n)(peaks).last_hidden_state for n in (3, 100))
        assert cosine_similarity(few[0, 0], many[0, 0], dim=0) < 0.99

    def test_states_only_on_request(self):
        assert tiny()(random_peaks(2)).hidden_states is None


@torch.no_grad()
@pytest.mark.parametrize("attend_to_padding", [True, False])
@pytest.mark.parametrize("mass_difference_bias", [True, False])
def test_batching_and_padding_never_change_an_output(attend_to_padding, mass_difference_bias):
    model = tiny(attend_to_padding=attend_to_padding, mass_difference_bias=mass_difference_bias)
    counts = (1, 4, 12, 7)
    batch = random_peaks(*counts)
    together = model(batch).last_hidden_state
    longer = model(pad(batch, 40)).last_hidden_state
    assert_close(longer[:, :13], together)
    for peaks, count, states in zip(batch, counts, together, strict=True):
        assert_close(model(peaks[None, : count + 1]).last_hidden_state[0], states[: count + 1])


@pytest.mark.parametrize("attend_to_padding", [True, False])
def test_what_lies_in_the_padding_has_no_influence(attend_to_padding):
    model = tiny(attend_to_padding=attend_to_padding)
    mask = torch.tensor([[1] * 4 + [0] * 6])
    peaks = random_peaks(9).requires_grad_()
    states = model(peaks, mask).last_hidden_state[:, :4]
    states.square().sum().backward()
    assert torch.equal(peaks.grad[:, 4:], torch.zeros(1, 6, 2))
    assert (peaks.grad[:, :4, 1] != 0).all()
    assert_close(model(peaks[:, :4]).last_hidden_state, states)


def test_hidden_padding_has_no_influence_at_all():
    """`attend_to_padding=False`: no trace of the original's padding tokens, so `num_peaks` does not matter."""
    peaks = random_peaks(3)
    few, many = (tiny(attend_to_padding=False, num_peaks=n)(peaks).last_hidden_state for n in (3, 100))
    assert torch.equal(few, many)


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = tiny().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(random_peaks(1, 5, 12)).last_hidden_state.square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient.norm() > 0, name
        assert_close(gradients[1][name], gradient, 1e-6)


class TestPrecision:
    def test_bfloat16_stays_close(self, folders, original):
        model = DreamsForSpectralEmbedding.from_pretrained(folders / "embedding", num_peaks=60)
        with torch.no_grad():
            rounded = model.to(torch.bfloat16)(original["inputs"]).embeddings
        assert rounded.dtype == torch.bfloat16
        similarity = cosine_similarity(rounded.float()[:, None], original["embedding"], dim=-1)
        assert similarity.diagonal().min() > 0.9995
        assert similarity.argmax(1).tolist() == list(range(16))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_phases_below_float32_destroy_the_embeddings(self, dtype, folders, original, monkeypatch):
        """Why m/z and phases are float32 in a model of any dtype. Here only the m/z is rounded, and most spectra are
        no longer most similar to themselves."""
        model = DreamsForSpectralEmbedding.from_pretrained(folders / "embedding", num_peaks=60)
        embeddings = model.dreams.embeddings
        exact = embeddings.fourier_features
        monkeypatch.setattr(embeddings, "fourier_features", lambda mz: exact(mz.to(dtype).float()))
        with torch.no_grad():
            broken = model(original["inputs"]).embeddings
        similarity = cosine_similarity(broken[:, None], original["embedding"], dim=-1)
        assert similarity.diagonal().mean() < 0.95
        assert (similarity.argmax(1) == torch.arange(16)).float().mean() < 0.5

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
    def test_peaks_must_be_float32(self, dtype):
        with pytest.raises(ValueError, match=f"peaks are {dtype}, not torch.float32"):
            tiny()(random_peaks(3).to(dtype))

    def test_frequencies_survive_every_way_into_bfloat16(self, tmp_path):
        mz = random_peaks(12)[0, :, :1]
        model = tiny()
        expected = model.embeddings.fourier_features(mz)
        model.save_pretrained(tmp_path)
        fourier_frequencies.cache_clear()
        for rounded in (model.to(torch.bfloat16), DreamsModel.from_pretrained(tmp_path, dtype=torch.bfloat16)):
            assert rounded.dtype == torch.bfloat16
            assert torch.equal(rounded.embeddings.fourier_features(mz), expected)

    def test_frequencies_first_used_in_inference_mode_still_differentiate(self):
        model = tiny()
        fourier_frequencies.cache_clear()
        with torch.inference_mode():
            model(random_peaks(3))
        peaks = random_peaks(3).requires_grad_()
        model(peaks).last_hidden_state.sum().backward()

    def test_attention_bias_is_finest_where_it_weighs_most(self):
        """The sum of 980 embeddings is some hundreds, where bfloat16 has steps of 2."""
        fourier = torch.randn(50, 24, 26, generator=torch.Generator().manual_seed(0)) * 4 + 12
        mask = torch.ones(50, 24, dtype=torch.bool)
        bias = tiny().attention_bias(fourier, mask, mask.float())
        exact = (-fourier.sum(-1)).softmax(-1)[:, None, None].expand(-1, 1, 24, -1)
        assert (bias.bfloat16().float().softmax(-1) - exact).abs().max() < 5e-3
        assert ((-fourier.sum(-1)).bfloat16().float().softmax(-1)[:, None, None] - exact).abs().max() > 0.1


class TestPreTraining:
    def masked(self, *counts):
        """Peaks with m/z -1 in every second place, and their true m/z."""
        peaks = random_peaks(*counts)
        labels = torch.full(peaks.shape[:2], -100.0)
        labels[:, 1::2] = peaks[:, 1::2, 0]
        labels[labels == 0] = -100.0
        peaks[..., 0] = peaks[..., 0].where(labels == -100, -1.0)
        return peaks, labels

    def test_a_masked_peak_is_a_real_token(self):
        model = tiny()
        peaks, labels = self.masked(4, 12)
        with torch.no_grad():
            output = model(peaks)
        assert_close(output.last_hidden_state, reference_forward(model, peaks).hidden_states[-1])
        assert output.attention_mask[labels != -100].all()

    @pytest.mark.parametrize("gamma", [0.0, 2.0, 5.0])
    def test_focal_loss(self, gamma):
        model = tiny(DreamsForPreTraining, focal_loss_gamma=gamma)
        peaks, labels = self.masked(4, 12)
        output = model(peaks, mz_labels=labels)
        masked = labels != -100
        logits, bins = output.mz_logits[masked], (labels[masked] / 5.0).round().long()
        p = logits.softmax(-1)[range(len(bins)), bins]
        assert torch.allclose(output.loss, (-((1 - p) ** gamma) * p.log()).mean())
        if gamma == 0:
            assert torch.allclose(output.loss, cross_entropy(logits, bins))

    def test_the_last_bin_takes_what_lies_above(self):
        model = tiny(DreamsForPreTraining)
        logits = torch.zeros(1, 2, 200)
        logits[..., 199] = 9.0
        assert model.masked_mz_loss(logits, torch.tensor([[1000.0, 4000.0]])) < 1e-3

    def test_retention_order(self):
        model = tiny(DreamsForPreTraining)
        peaks, labels = self.masked(3, 5, 12, 1)
        first = torch.tensor([1, 0])
        output = model(peaks, mz_labels=labels, retention_order_labels=first)
        precursors = output.last_hidden_state[:, 0]
        logits = torch.stack([torch.cat([precursors[i], precursors[i + 1]]) for i in (0, 2)])
        logits = (logits @ model.retention_order_head.weight.T)[:, 0]
        assert_close(output.retention_order_logits, logits)
        expected = 0.8 * model(peaks, mz_labels=labels).loss + 0.2 * binary_cross_entropy_with_logits(
            logits, first.float()
        )
        assert torch.allclose(output.loss, expected)

    def test_pairs_without_an_order_have_no_say(self):
        model = tiny(DreamsForPreTraining)
        peaks, labels = self.masked(3, 5, 12, 1)
        logits = model(peaks).retention_order_logits
        loss = model.retention_order_loss(logits, torch.tensor([-100, 1]))
        assert torch.allclose(loss, binary_cross_entropy_with_logits(logits[1:], torch.ones(1)))
        assert model.retention_order_loss(logits, torch.tensor([-100, -100])) == 0
        masked_alone = model(peaks, mz_labels=labels).loss
        assert torch.allclose(
            model(peaks, mz_labels=labels, retention_order_labels=torch.tensor([-100, -100])).loss, 0.8 * masked_alone
        )

    def test_no_pairs_in_an_odd_batch(self):
        model = tiny(DreamsForPreTraining)
        assert model(random_peaks(3, 4, 5)).retention_order_logits is None
        with pytest.raises(ValueError, match="1 retention_order_labels for 3 spectra"):
            model(random_peaks(3, 4, 5), retention_order_labels=torch.tensor([1]))

    def test_nothing_masked_is_no_loss(self):
        model = tiny(DreamsForPreTraining)
        peaks = random_peaks(3, 4)
        loss = model(peaks, mz_labels=torch.full(peaks.shape[:2], -100.0)).loss
        loss.backward()
        assert loss == 0 and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


class TestClassification:
    def test_several_labels_at_once(self):
        model = tiny(DreamsForSequenceClassification, num_labels=5, problem_type="multi_label_classification")
        labels = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 1, 1, 1]])
        output = model(random_peaks(3, 12), labels=labels)
        assert output.logits.shape == (2, 5)
        assert torch.allclose(output.loss, binary_cross_entropy_with_logits(output.logits, labels))

    def test_one_of_several_classes(self):
        model = tiny(DreamsForSequenceClassification, id2label={0: "no fluorine", 1: "fluorine"})
        labels = torch.tensor([1, 0])
        output = model(random_peaks(3, 12), labels=labels)
        assert torch.allclose(output.loss, cross_entropy(output.logits, labels))
        assert model.config.problem_type == "single_label_classification"

    def test_only_the_precursor_token_is_read(self):
        model = tiny(DreamsForSequenceClassification, num_labels=3)
        output = model(random_peaks(3, 12))
        assert output.loss is None
        assert_close(output.logits, model.classifier(output.last_hidden_state[:, 0]))

    def test_learns(self):
        model = tiny(DreamsForSequenceClassification, num_labels=2)
        losses = builders.train(
            model, {"peaks": random_peaks(3, 12, 5, 8), "labels": torch.tensor([0, 1, 1, 0])}, steps=30
        )
        assert losses[-1] < 0.1 < 0.4 < losses[0]


class TestContrast:
    """The loss of `DreamsForSpectralEmbedding`, whose labels say which spectra are of one molecule."""

    def test_equals_its_definition(self):
        model = tiny(DreamsForSpectralEmbedding, contrast_temperature=0.2)
        labels = [7, 3, 7, 7, 5]
        output = model(random_peaks(3, 12, 5, 8, 2), labels=torch.tensor(labels))
        cosine = cosine_similarity(output.embeddings[:, None], output.embeddings[None], dim=-1) / 0.2
        losses = []
        for i in (0, 2, 3):  # The molecules of the others are alone.
            others = [j for j in range(5) if j != i]
            log_p = cosine[i, others].log_softmax(0)
            losses.append(-torch.stack([log_p[others.index(j)] for j in others if labels[j] == 7]).mean())
        assert torch.allclose(output.loss, torch.stack(losses).mean(), atol=1e-5)

    @pytest.mark.parametrize("labels", [[1], [1, 2, 3]], ids=str)
    def test_without_pairs_it_is_0(self, labels):
        model = tiny(DreamsForSpectralEmbedding)
        loss = model(random_peaks(*range(1, len(labels) + 1)), labels=torch.tensor(labels)).loss
        loss.backward()
        assert loss == 0 and all(p.grad.isfinite().all() for p in model.parameters())

    def test_learns_which_spectra_belong_together(self):
        model = tiny(DreamsForSpectralEmbedding)
        peaks, labels = random_peaks(3, 12, 5, 8, 2, 9), torch.tensor([0, 1, 2, 0, 1, 2])
        builders.train(model, {"peaks": peaks, "labels": labels}, steps=40)
        with torch.no_grad():
            unit = normalize(model(peaks).embeddings, dim=-1)
        nearest = (unit @ unit.T).fill_diagonal_(-1).argmax(1)
        assert labels[nearest].tolist() == labels.tolist()

    def test_embeddings_alone_have_no_loss(self):
        assert tiny(DreamsForSpectralEmbedding)(random_peaks(3)).loss is None


def test_a_head_reads_the_body_of_any_other(tmp_path):
    heads = (DreamsForPreTraining, DreamsForSpectralEmbedding, DreamsForSequenceClassification)
    for source in heads:
        model = tiny(source)
        model.save_pretrained(tmp_path / source.__name__)
        for target in heads:
            loaded, info = target.from_pretrained(tmp_path / source.__name__, output_loading_info=True)
            assert not info["unexpected_keys"] and not any(key.startswith("dreams.") for key in info["missing_keys"])
            assert torch.equal(loaded.dreams.norm.weight, model.dreams.norm.weight)


def test_official_size():
    config = DreamsConfig()
    assert config.hidden_size == 1024
    assert len(fourier_frequencies(config.min_wavelength, config.max_mz, CPU)) == 5997
    with torch.device("meta"):
        assert DreamsModel(config).num_parameters() == 95_543_384


def test_initial_weights_are_the_originals():
    config = DreamsConfig(**TINY | {"peak_hidden_size": 64, "fourier_hidden_size": 192})
    layer = DreamsModel(config).layers[0]
    for linear in (layer.attention.q_proj, layer.up_proj, layer.down_proj):
        assert linear.weight.std().item() == pytest.approx((2 / (5 * 256)) ** 0.5, rel=0.05)


def test_a_saved_model_is_the_same_in_a_fresh_process(tmp_path):
    model = tiny(DreamsForPreTraining)
    peaks = random_peaks(1, 5, 12)
    model.save_pretrained(tmp_path / "model")
    torch.save(peaks, tmp_path / "peaks.pt")
    script = (
        "import torch; from transformers import AutoModel, AutoModelForPreTraining; import spec2mol\n"
        "peaks = torch.load('peaks.pt')\n"
        "whole, body = (auto.from_pretrained('model').eval() for auto in (AutoModelForPreTraining, AutoModel))\n"
        "with torch.no_grad():\n"
        "    torch.save((whole(peaks).mz_logits, body(peaks).last_hidden_state), 'outputs.pt')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env=ONE_THREAD)
    logits, states = torch.load(tmp_path / "outputs.pt")
    with torch.no_grad():
        output = model(peaks)
    assert torch.equal(logits, output.mz_logits)
    assert torch.equal(states, output.last_hidden_state)


class TestExplainedPeaks:
    @pytest.fixture
    def model(self):
        return tiny(num_fragment_elements=13)

    def test_only_explained_peaks_change_the_embeddings(self, model):
        counts = torch.zeros(1, 3, 13)  # of a spectrum of two peaks
        counts[0, 1, :2] = torch.tensor([6.0, 5.0])  # C6H5
        added = model.fragment_embeddings(counts)
        assert added[0, 1].any() and not added[0, [0, 2]].any()

    @torch.no_grad()
    def test_no_explanation_is_as_none_given(self, model):
        peaks = random_peaks(2, 3)
        assert_close(
            model(peaks, fragment_counts=torch.zeros(2, 4, 13)).last_hidden_state, model(peaks).last_hidden_state
        )

    def test_counts_are_read(self, model):
        counts = torch.ones(2, 4, 13, requires_grad=True)
        model(random_peaks(3, 3), fragment_counts=counts).last_hidden_state[:, 0].sum().backward()
        assert (counts.grad.abs().sum(-1) > 0).all()
