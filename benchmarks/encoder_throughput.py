"""Speed of the DreaMS encoder on real spectra: one padding token for all against padding to 101 tokens.

    python benchmarks/encoder_throughput.py --data ../shared/data/massbank/test.parquet

The network has the official size and random weights. Four ways of computing the same, timed in turns, so that what
else runs on the machine slows all of them alike:

- original: as the published code does it, see tests/reference_dreams.py. Slow, so on every few spectra;
- padded: our layers on the original's 101 tokens, which isolates the cost of padding. On the same spectra;
- merged: `DreamsModel`, on all spectra, in batches of similar length;
- merged bf16: the same with weights in bfloat16.
"""

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn.functional import cosine_similarity, linear

from spec2mol import DreamsConfig, DreamsModel, Spec2MolFeatureExtractor
from spec2mol.tests.reference_dreams import pad, reference_forward

CONFIG = DreamsConfig(num_peaks=100)
SEED = 0
BATCH_TOKENS = 1024  # of a merged batch, padding included
BATCH_SPECTRA = 8  # of a padded batch
VARIANTS = {
    "original": torch.float32,
    "padded": torch.float32,
    "merged": torch.float32,
    "merged bf16": torch.bfloat16,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="parquet file with mzs, intensities, precursor_mz")
    parser.add_argument("--limit", type=int, help="use only so many spectra, evenly spaced (default: all)")
    args = parser.parse_args()

    spectra = read_spectra(args.data, args.limit)
    batches = batches_of_similar_length(spectra)
    # Evenly spaced over all lengths, one batch for each merged one.
    chosen = np.linspace(0, len(spectra) - 1, min(len(spectra), len(batches) * BATCH_SPECTRA)).astype(int)
    padded_batches = [list(chosen[i :: len(batches)]) for i in range(len(batches))]
    peak_memory = {variant: measure_peak_memory(variant, spectra) for variant in VARIANTS}
    models = {dtype: build_model(dtype) for dtype in dict.fromkeys(VARIANTS.values())}

    embeddings = {variant: np.full((len(spectra), CONFIG.hidden_size), np.nan, np.float32) for variant in VARIANTS}
    for variant, dtype in VARIANTS.items():
        embed(variant, models[dtype], to_batch(spectra[:1]))  # Warm up
    seconds = dict.fromkeys(VARIANTS, 0.0)
    products = {dtype: [] for dtype in models}  # GFLOP/s
    for batch, padded_batch in zip(batches, padded_batches, strict=True):
        for variant, dtype in VARIANTS.items():
            rows = batch if variant.startswith("merged") else padded_batch
            inputs = to_batch([spectra[row] for row in rows])
            start = time.perf_counter()
            embeddings[variant][rows] = embed(variant, models[dtype], inputs)
            seconds[variant] += time.perf_counter() - start
        for dtype, rates in products.items():
            rates.append(matrix_product_rate(dtype))

    lengths = np.array([len(spectrum) for spectrum in spectra])
    print(f"DreaMS, {CONFIG.num_hidden_layers} layers x {CONFIG.hidden_size}, random weights (seed {SEED})")
    print(f"{len(spectra):,} spectra of {args.data.name}, {lengths.mean():.1f} tokens each, of {CONFIG.num_peaks + 1}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"batches: {BATCH_SPECTRA} padded spectra, or up to {BATCH_TOKENS} tokens of spectra of similar length")
    rates = ", ".join(f"{str(dtype).removeprefix('torch.')} {np.median(r):,.0f}" for dtype, r in products.items())
    print(f"matrix products of a layer on {BATCH_TOKENS} tokens, GFLOP/s: {rates}\n")
    print(f"{'':12}{'spectra':>9}{'spectra/s':>11}{'GFLOP/s':>9}{'peak memory, MiB':>18}{'largest difference':>20}")
    speed = {}
    for variant in VARIANTS:
        is_merged = variant.startswith("merged")
        rows = [row for batch in (batches if is_merged else padded_batches) for row in batch]
        flop = sum(batch_flop(len(b), max(lengths[b]) + 1) for b in batches) if is_merged else batch_flop(len(rows))
        speed[variant] = len(rows) / seconds[variant]
        difference = relative_difference(embeddings[variant][chosen], embeddings["original"][chosen])
        print(
            f"{variant:12}{len(rows):9,}{speed[variant]:11.1f}{flop / seconds[variant] / 1e9:9.0f}"
            f"{peak_memory[variant]:18,.0f}{difference:20.1e}"
        )
    print()
    for variant in ("merged", "merged bf16"):
        ratios = (f"{speed[variant] / speed[base]:.1f} x {base}" for base in ("original", "padded"))
        print(f"{variant}: {', '.join(ratios)}")
    similarity = cosine_similarity(*(torch.from_numpy(embeddings[v]) for v in ("merged", "merged bf16")))
    print(f"cosine of merged bf16 to merged: smallest {similarity.min():.6f}, mean {similarity.mean():.6f}")


def read_spectra(path: Path, limit: int | None) -> list[torch.Tensor]:
    """Tokens `(tokens, 2)` of each spectrum."""
    rows = pq.read_table(path, columns=["mzs", "intensities", "precursor_mz"]).to_pylist()
    if limit is not None:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int)]
    extract = Spec2MolFeatureExtractor(num_peaks=CONFIG.num_peaks, conditions=False)
    return sorted((extract(row, return_tensors="pt")["peaks"][0] for row in rows), key=len)


def batches_of_similar_length(spectra) -> list[list[int]]:
    """Rows of spectra that are sorted by length, a batch of them up to `BATCH_TOKENS` tokens with its padding."""
    batches = [[]]
    for row, spectrum in enumerate(spectra):
        if (len(spectrum) + 1) * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def to_batch(spectra) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(spectra, batch_first=True)


def build_model(dtype: torch.dtype) -> DreamsModel:
    torch.manual_seed(SEED)
    return DreamsModel(CONFIG).eval().to(dtype)


@torch.inference_mode()
def embed(variant: str, model: DreamsModel, peaks: torch.Tensor) -> np.ndarray:
    """Last states of the precursor tokens, `(batch, hidden)`."""
    if variant == "original":
        states = reference_forward(model, peaks).hidden_states[-1]
    elif variant == "padded":
        states = padded_forward(model, pad(peaks, CONFIG.num_peaks + 1))
    else:
        states = model(peaks).last_hidden_state
    return states[:, 0].float().numpy()


def padded_forward(model: DreamsModel, peaks: torch.Tensor) -> torch.Tensor:
    """`DreamsModel.forward`, but with every padding token there and standing for itself."""
    mask = peaks[..., 0] != 0
    states, fourier = model.embeddings(peaks)
    bias = model.attention_bias(fourier, mask, torch.ones_like(mask, dtype=torch.float32))
    for layer in model.layers:
        states = layer(states, bias, ~mask[..., None])
    return model.norm(states)


def batch_flop(num_spectra: int, num_tokens: int = CONFIG.num_peaks + 1) -> float:
    """Of the matrix products, attention included."""
    d, inner = CONFIG.hidden_size, CONFIG.fourier_intermediate_size
    num_frequencies = 5997
    fourier = 2 * num_frequencies * inner + 3 * inner * inner + inner * CONFIG.fourier_hidden_size
    layer = 4 * d * d + 2 * d * CONFIG.intermediate_size + 2 * num_tokens * d
    return 2.0 * num_spectra * num_tokens * (fourier + CONFIG.num_hidden_layers * layer)


@torch.inference_mode()
def matrix_product_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of the six products with weights that a layer is made of."""
    d, inner = CONFIG.hidden_size, CONFIG.intermediate_size
    x, h = torch.randn(BATCH_TOKENS, d).to(dtype), torch.randn(BATCH_TOKENS, inner).to(dtype)
    attention, up, down = (torch.randn(shape).to(dtype) for shape in ((d, d), (inner, d), (d, inner)))
    linear(x, attention)  # Warm up
    start = time.perf_counter()
    for _ in range(4):
        linear(x, attention)
    linear(x, up)
    linear(h, down)
    return 2 * BATCH_TOKENS * (4 * d * d + 2 * d * inner) / (time.perf_counter() - start) / 1e9


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest of all spectra."""
    return (np.linalg.norm(actual - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()


def measure_peak_memory(variant: str, spectra) -> float:
    """MiB of a fresh process that embeds three batches of short, middling and long spectra, model included."""
    batches = batches_of_similar_length(spectra)
    chosen = [batches[i] for i in (0, len(batches) // 2, -1)]
    if not variant.startswith("merged"):
        chosen = [batch[-BATCH_SPECTRA:] for batch in chosen]
    inputs = [to_batch([spectra[row] for row in batch]).numpy() for batch in chosen]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_memory, variant, inputs).result()


def _peak_memory(variant, inputs):
    model = DreamsModel._from_config(CONFIG, dtype=VARIANTS[variant]).eval()
    for peaks in inputs:
        embed(variant, model, torch.from_numpy(peaks))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of what ru_maxrss counts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
