"""What an option of a stage is worth: short runs on one budget that differ in it, compared on the same spectra.

    python benchmarks/training_effects.py recipes/fingerprint_small.yaml --output runs/effects \\
        --common arguments.max_steps=300 --plot docs/effects.png \\
        --variant "as in the recipe" --variant "no m/z noise: augmentation.mz_noise=0"

A variant is a name and values of the recipe that it replaces. The stage is `fingerprint`, `align` or `represent`. Each
run is left in the output folder, and not trained again if it is there. Figures are on the recipe's validation data;
means over molecules, with 95% bootstrap intervals, and of the difference to the first variant on the same spectra:
- fingerprint, told the formula if the encoder explains peaks: the loss, and Tanimoto similarity to the true bits;
- align: the loss where all conditions are told, and where only peaks and precursor m/z are;
- represent, the formula not told: contrast of the true molecule with all others, and how often it is first.

`--at 150 300 600 1200` compares the runs after so many steps each, as far as they went, and fits a power law to each,
loss = a n^-b of n examples seen: how well the earlier points foretell the last one, and what ten times as many
examples would give. The learning rate should be constant then, or the earlier points are those of runs cut short.
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spec2mol.chemistry_spec2mol import morgan_fingerprint
from spec2mol.cli.evaluate_encoder import predict
from spec2mol.evaluation.downstream import fingerprint_tanimoto
from spec2mol.evaluation.evaluator import for_track, load_queries, target_losses
from spec2mol.evaluation.intervals import (
    Interval,
    bootstrap_over_molecules,
    paired_difference,
    percentile_interval,
    resampling_weights,
)
from spec2mol.feature_extraction_spec2mol import CONDITIONS, Spec2MolFeatureExtractor
from spec2mol.modeling_dreams import DreamsForSequenceClassification
from spec2mol.modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolModel
from spec2mol.processing_spec2mol import Spec2MolProcessor
from spec2mol.train import main as train
from spec2mol.training.recipe import Recipe
from spec2mol.training.trainer import last_checkpoint

PROBABLE = 0.3  # probability from which on a bit counts as set


class Point(NamedTuple):
    """A run after `seen` examples: figures `(spectra,)` by what they are, a loss first."""

    seen: int
    figures: dict[str, np.ndarray]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME[: key=value ...]")
    parser.add_argument("--common", nargs="*", default=[], metavar="key=value", help="replaced in all variants")
    parser.add_argument("--at", type=int, nargs="+", metavar="STEP", help="compare there, up to the last of them")
    parser.add_argument("--per-molecule", type=int, default=3, help="spectra of each in validation (default: 3)")
    parser.add_argument("--plot", type=Path, help=".png of the figures, or without --at of the learning curves")
    args = parser.parse_args()

    common = list(args.common)
    if args.at:
        steps = {"max_steps": max(args.at), "save_steps": math.gcd(*args.at), "save_total_limit": "null"}
        common += [f"arguments.{name}={value}" for name, value in steps.items()]
    recipe = Recipe.load(args.recipe, common)
    rows = load_queries(recipe.data["validation"], per_molecule=args.per_molecule)
    molecules = [row["inchikey"] for row in rows]
    figures_of = FIGURES[recipe.stage]
    points, curves = {}, {}  # by variant
    for variant in args.variant:
        name, _, overrides = variant.partition(":")
        folder = args.output / name.replace(" ", "-").replace("/", "")
        if not (folder / "model.safetensors").exists():
            train([args.recipe, "--output", str(folder), "--resume", *common, *overrides.split()])
        last = last_checkpoint(folder)
        at = [path for step in args.at or () if (path := folder / f"checkpoint-{step}").exists()] or [last]
        points[name] = [Point(examples_seen(path), figures_of(path, rows)) for path in at]
        curves[name] = learning_curve(last)

    print(f"\n{len(rows)} spectra of {len(set(molecules))} molecules, {recipe.data['validation']}\n")
    labels = list(points[name][0].figures)
    print(f"| examples | variant | {' | '.join(f'{label} | difference' for label in labels)} |")
    print("|---" * (2 + 2 * len(labels)) + "|")
    for i in range(max(map(len, points.values()))):
        at_once = {name: of_run[i] for name, of_run in points.items() if i < len(of_run)}
        first = next(iter(at_once.values()))
        for name, point in at_once.items():
            cells = [f"{point.seen:,}", name]
            for label, values in point.figures.items():
                cells.append(str(bootstrap_over_molecules(values, molecules)))
                cells.append("" if point is first else str(paired_difference(values, first.figures[label], molecules)))
            print(f"| {' | '.join(cells)} |")
    if args.at:
        print_laws(points, molecules)
    if args.plot:
        plot_figures(points, molecules, args.plot) if args.at else plot_curves(curves, args.plot)


def fingerprint_figures(checkpoint, rows) -> dict[str, np.ndarray]:
    model = DreamsForSequenceClassification.from_pretrained(checkpoint).eval()
    feature_extractor = Spec2MolFeatureExtractor.from_pretrained(checkpoint)
    queries = for_track(rows, "mass" if feature_extractor.explain_ppm is None else "formula")
    logits = predict(lambda **x: model(**x).logits, feature_extractor, queries, 64, str(checkpoint)).astype(np.float64)
    truth = np.stack([morgan_fingerprint(row["smiles"]) for row in rows]).astype(bool)
    return {
        "loss, nats a set bit": (np.logaddexp(0, logits) - truth * logits).sum(1) / truth.sum(1),
        f"Tanimoto, bits from {PROBABLE}": fingerprint_tanimoto(1 / (1 + np.exp(-logits)) >= PROBABLE, truth),
    }


def align_figures(checkpoint, rows) -> dict[str, np.ndarray]:
    model = Spec2MolForConditionalGeneration.from_pretrained(checkpoint).eval()
    processor = Spec2MolProcessor.from_pretrained(checkpoint)
    hidden = dict.fromkeys(name for name in CONDITIONS if name != "precursor_mz")
    ways = {
        "loss, nats a symbol": rows,
        "the same, told peaks and precursor m/z alone": [row | hidden for row in rows],
    }
    figures = {}
    for name, queries in ways.items():
        soft_tokens = predict(
            lambda **x: model.model(**x).soft_tokens, processor.feature_extractor, queries, 64, str(checkpoint)
        )
        losses = target_losses(model, processor, rows, list(torch.from_numpy(soft_tokens)[:, None]))
        figures[name] = np.array(losses)
    return figures


@torch.no_grad()
def represent_figures(checkpoint, rows) -> dict[str, np.ndarray]:
    model = Spec2MolModel.from_pretrained(checkpoint).eval()
    processor = Spec2MolProcessor.from_pretrained(checkpoint)
    spectra = predict(
        model.get_spectrum_features, processor.feature_extractor, for_track(rows, "mass"), 64, str(checkpoint)
    )
    smiles = {row["inchikey"]: row["smiles"] for row in rows}
    molecules = model.get_molecule_features(**processor(molecules=list(smiles.values()), return_tensors="pt"))
    logits = model.projector.similarity(torch.from_numpy(spectra), molecules) / model.projector.temperature
    truth = torch.tensor([list(smiles).index(row["inchikey"]) for row in rows])
    return {
        "contrast, nats": torch.nn.functional.cross_entropy(logits, truth, reduction="none").numpy(),
        f"first of {len(smiles)} molecules": (logits.argmax(1) == truth).float().numpy(),
    }


FIGURES = {"fingerprint": fingerprint_figures, "align": align_figures, "represent": represent_figures}


def examples_seen(checkpoint) -> int:
    state = json.loads(Path(checkpoint, "trainer_state.json").read_text())
    return state["global_step"] * state["train_batch_size"]


def learning_curve(checkpoint) -> tuple[list[int], list[float]]:
    """Examples seen, and validation loss, at each evaluation."""
    state = json.loads(Path(checkpoint, "trainer_state.json").read_text())
    entries = [entry for entry in state["log_history"] if "eval_loss" in entry]
    return [entry["step"] * state["train_batch_size"] for entry in entries], [entry["eval_loss"] for entry in entries]


def print_laws(points, molecules):
    print("\n| variant | exponent b of the loss | last point from the others | it is | with ten times the examples |")
    print("|---|---|---|---|---|")
    for name, of_run in points.items():
        if len(of_run) < 3:
            continue
        seen, losses = [point.seen for point in of_run], [next(iter(point.figures.values())) for point in of_run]
        exponent, tenfold = power_law(seen, losses, molecules, 10 * seen[-1])
        _, foretold = power_law(seen[:-1], losses[:-1], molecules, seen[-1])
        print(f"| {name} | {exponent} | {foretold} | {bootstrap_over_molecules(losses[-1], molecules)} | {tenfold} |")


def power_law(seen, losses, molecules, at: int) -> tuple[Interval, Interval]:
    """Of loss = a n^-b by least squares in logarithms: b, and the loss at n = `at`. Intervals are over molecules, the
    same ones for all points; they do not tell whether it is a power law.

    Args:
        seen, losses: n and `(spectra,)` losses of each point, of two or more.
    """
    names, index = np.unique(molecules, return_inverse=True)
    by_molecule = np.stack([np.bincount(index, weights=of_point) / np.bincount(index) for of_point in losses])
    weights = np.concatenate([np.ones((1, len(names))), resampling_weights(names)])
    means = by_molecule @ weights.T / len(names)  # (points, resamples), all molecules first
    slopes, intercepts = np.polyfit(np.log(seen), np.log(means), 1)
    there = np.exp(intercepts + slopes * math.log(at))
    return percentile_interval(-slopes[0], -slopes[1:]), percentile_interval(there[0], there[1:])


def plot_figures(points, molecules, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    labels = list(next(iter(points.values()))[0].figures)
    for axes, label in zip(figure.subplots(1, len(labels)), labels, strict=True):
        for name, of_run in points.items():
            means = [bootstrap_over_molecules(point.figures[label], molecules).mean for point in of_run]
            axes.plot([point.seen for point in of_run], means, marker=".", label=name)
        axes.set(xlabel="examples seen", ylabel=label, xscale="log")
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=100)


def plot_curves(curves, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, (seen, losses) in curves.items():
        axes.plot(seen, losses, marker=".", label=name)
    axes.set(xlabel="examples seen", ylabel="validation loss, nats a bit", xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
