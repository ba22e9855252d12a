"""Speed of ranked answers: `predict_molecules` against plain `generate` of one spectrum with a naive constraint.

    python benchmarks/generation_throughput.py --data ../shared/data/massbank/val.parquet

Ways of searching for molecules of the formula that is given with as many beams, and ranking what is valid, timed in
turns, so that what else runs on the machine slows all of them alike:

- naive: `model.generate(num_beams=...)` for one spectrum after the other, with a logits processor that reads each text
  from its start at each step. Slow, so on every few spectra;
- incremental: the same with `FormulaConstraint`, which reads one more symbol of all texts at once;
- batched: `predict_molecules`, on spectra of similar mass;
- batched bf16: the same with the language model in bfloat16.

Then a batch is answered once more under timers, to say where its time goes.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import LogitsProcessor

from spec2mol import generation_spec2mol as generation
from spec2mol import load_model, predict_molecules
from spec2mol import sampling_spec2mol as sampling
from spec2mol.data.examples import SPECTRUM_COLUMNS
from spec2mol.formula_constraint_spec2mol import Derivations, FormulaConstraint
from spec2mol.generation_spec2mol import NUM_BEAMS
from spec2mol.loading import DEFAULT_MODEL

TOP_K = 10
VARIANTS = ("naive", "incremental", "batched", "batched bf16")
NAIVE = 8  # every eighth spectrum


class NaiveConstraint(LogitsProcessor):
    def __init__(self, tokenizer, formula: str):
        self.start_id, self.nothing = tokenizer.bos_token_id, Derivations(tokenizer, [formula])

    def __call__(self, input_ids, scores):
        for row, ids in enumerate(input_ids.numpy()):
            derivation = self.nothing.select(np.array([0]))
            for token in ids[np.flatnonzero(ids == self.start_id)[0] + 1 :]:
                derivation.advance(np.array([token]))
            scores[row] = derivation.constrain(scores[row : row + 1])
        return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="parquet file of spectra with formulas")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub name (default: the shipped checkpoint)")
    parser.add_argument("--limit", type=int, default=64, help="spectra, evenly spaced (default: 64)")
    parser.add_argument("--batch-size", type=int, default=16, help="spectra in a batch (default: 16)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    spectra = read_spectra(args.data, args.limit)
    model, processor = load_model(args.model)
    faster, _ = load_model(args.model)
    faster.language_model.bfloat16()
    models = dict.fromkeys(VARIANTS, model) | {"batched bf16": faster}
    batches = [spectra[i : i + args.batch_size] for i in range(0, len(spectra), args.batch_size)]
    for variant in VARIANTS[1:]:
        answer(variant, models[variant], processor, spectra[:1])  # Warm up

    seconds, answers = dict.fromkeys(VARIANTS, 0.0), {variant: [] for variant in VARIANTS}
    for batch in batches:
        for variant in VARIANTS:
            start = time.perf_counter()
            answers[variant] += answer(
                variant, models[variant], processor, batch[1::NAIVE] if variant == "naive" else batch
            )
            seconds[variant] += time.perf_counter() - start

    print(f"{args.model}: top {TOP_K} of {NUM_BEAMS} beams for spectra of {args.data.name}, formula given")
    print(f"{args.threads} threads, torch {torch.__version__}; batches of {args.batch_size} spectra\n")
    print(f"{'':14}{'spectra':>8}{'s/spectrum':>12}{'spectra/s':>11}{'answers each':>14}{'peak memory, MiB':>18}")
    speed = {variant: len(answers[variant]) / seconds[variant] for variant in VARIANTS}
    for variant in VARIANTS:
        memory = "as below"
        if variant != "naive":
            memory = (
                f"{measure_peak_memory(variant, args, spectra[-1:] if variant == 'incremental' else batches[-1]):,.0f}"
            )
        print(
            f"{variant:14}{len(answers[variant]):8,}{1 / speed[variant]:12.3f}{speed[variant]:11.2f}"
            f"{np.mean([len(found) for found in answers[variant]]):14.1f}{memory:>18}"
        )
    print()
    for variant in ("batched", "batched bf16"):
        print(f"{variant}: " + ", ".join(f"{speed[variant] / speed[base]:.1f} x {base}" for base in VARIANTS[:2]))
    same = [
        {c.inchikey[:14] for c in ours[:1]} == {c.inchikey[:14] for c in theirs[:1]}
        for ours, theirs in zip(answers["batched"], answers["batched bf16"], strict=True)
    ]
    print(f"batched bf16: the first answer is the same for {np.mean(same):.0%}\n")

    print(f"where the time of a batch of {len(batches[0])} goes:")
    for part, share in profile(model, processor, batches[0]).items():
        print(f"{part:40}{share:6.0%}")


def read_spectra(path: Path, limit: int) -> list[dict]:
    """Evenly spaced ones, by rising mass."""
    names = [name for name in pq.read_schema(path).names if name in SPECTRUM_COLUMNS]
    rows = pq.read_table(path, columns=names).to_pylist()
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int)]
    return sorted(chosen, key=lambda row: row["precursor_mz"])


def answer(variant: str, model, processor, spectra) -> list:
    if variant.startswith("batched"):
        return list(predict_molecules(model, processor, spectra, TOP_K, len(spectra), NUM_BEAMS, 0))
    return [answer_plainly(variant, model, processor, spectrum) for spectrum in spectra]


def answer_plainly(variant, model, processor, spectrum) -> list:
    queries, _ = generation.plan_queries(processor, spectrum, NUM_BEAMS, 0)
    if not queries:
        return []
    (query,) = queries
    if variant == "naive":
        constraint = NaiveConstraint(processor.tokenizer, query.formula)
    else:
        constraint = FormulaConstraint(processor.tokenizer, [query.formula])
    inputs = processor(spectra=[spectrum], return_tensors="pt")
    output = model.generate(
        **inputs,
        logits_processor=[constraint],
        num_beams=NUM_BEAMS,
        num_return_sequences=NUM_BEAMS,
        length_penalty=0.0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    ids = output.sequences[:, inputs["input_ids"].shape[1] :]
    steps = torch.arange(ids.shape[1])
    log_p = torch.stack(output.logits, 1).log_softmax(-1)  # (rows, tokens, vocabulary)
    log_p = log_p[output.beam_indices[:, steps], steps]  # A beam may have been another row before.
    scores = log_p.gather(2, ids[..., None])[..., 0].double()
    pool, end = [], processor.tokenizer.eos_token_id
    for row, likelihoods in zip(ids.tolist(), scores.tolist(), strict=True):
        if end in row and processor.tokenizer.unk_token_id not in row:
            length = row.index(end)
            pool.append(sampling.Text(tuple(row[:length]), sum(likelihoods[: length + 1])))
    encoded = generation.encode_queries(model, processor, [query])
    candidates, features = generation.pool_molecules(model, processor, [query], [pool], encoded)
    pool = generation.Pool(candidates, features, encoded.soft_tokens, None)
    return generation.rank_pool(pool, model.config.ranking)[:TOP_K]


def profile(model, processor, spectra) -> dict[str, float]:
    """Shares of the time of `predict_molecules`; each part without those inside it."""
    parts = {
        "language model: matrix products": (torch.nn.functional, "linear"),
        "language model: attention": (_attention_class(model), "_attn"),
        "language model: the rest": (model.language_model, "forward"),
        "cache: new tokens": (sampling.RoomyLayer, "update"),
        "cache: change of rows": (sampling.RoomyLayer, "batch_select_indices"),
        "constraint: reading symbols": (Derivations, "advance"),
        "constraint: masking logits": (Derivations, "constrain"),
        "encoder and projector": (model.model, "forward"),
        "drawing and bookkeeping": (generation, "write_molecules"),
        "planning": (generation, "plan_queries"),
        "ranking: SELFIES to molecules": (processor, "decode_molecules"),
        "ranking: fragments": (generation, "fragment_scores"),
        "ranking: matching head": (generation, "match_scores"),
        "ranking: the rest": (generation, "pool_molecules"),
    }
    seconds, open_parts = Counter(), []

    def timed(part, function):
        def call(*args, **kwargs):
            start = time.perf_counter()
            open_parts.append(0.0)
            result = function(*args, **kwargs)
            took, inside = time.perf_counter() - start, open_parts.pop()
            seconds[part] += took - inside
            if open_parts:
                open_parts[-1] += took
            return result

        return call

    originals = {}
    for part, (owner, name) in parts.items():
        if owner is not None:
            originals[part] = getattr(owner, name)
            setattr(owner, name, timed(part, originals[part]))
    start = time.perf_counter()
    answer("batched", model, processor, spectra)
    total = time.perf_counter() - start
    for part, original in originals.items():
        setattr(*parts[part], original)
    return {part: seconds[part] / total for part in parts} | {"anything else": 1 - sum(seconds.values()) / total}


def _attention_class(model):
    modules = model.language_model.modules()
    return next((type(module) for module in modules if hasattr(module, "_attn")), None)


def measure_peak_memory(variant: str, args, spectra) -> float:
    """MiB of a fresh process that answers some spectra, model and libraries included."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_memory, variant, args.model, args.threads, spectra).result()


def _peak_memory(variant, name, threads, spectra):
    torch.set_num_threads(threads)
    model, processor = load_model(name)
    if variant == "batched bf16":
        model.language_model.bfloat16()
    answer(variant, model, processor, spectra)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of what ru_maxrss counts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
