"""What an option of a stage is worth: short runs on one budget that differ in it, compared on the same spectra.

    python benchmarks/training_effects.py recipes/fingerprint_small.yaml --output runs/effects \\
        --common arguments.max_steps=300 --plot docs/effects.png \\
        --variant "as in the recipe" --variant "no m/z noise: augmentation.mz_noise=0"

A variant is a name and values of the recipe that it replaces. The stage must be `fingerprint`. Each run is left in the
output folder, and not trained again if it is there. Figures are on the recipe's validation data, told the formula if
the encoder explains peaks; means over molecules, with 95% bootstrap intervals, and of the difference to the first
variant on the same spectra. The plot has the validation loss of each variant over the examples seen.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from spec2mol.chemistry_spec2mol import morgan_fingerprint
from spec2mol.cli.evaluate_encoder import predict
from spec2mol.evaluation.downstream import fingerprint_tanimoto
from spec2mol.evaluation.evaluator import for_track, load_queries
from spec2mol.evaluation.intervals import bootstrap_over_molecules, paired_difference
from spec2mol.feature_extraction_spec2mol import Spec2MolFeatureExtractor
from spec2mol.modeling_dreams import DreamsForSequenceClassification
from spec2mol.train import main as train
from spec2mol.training.recipe import Recipe

PROBABLE = 0.3  # probability from which on a bit counts as set


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME[: key=value ...]")
    parser.add_argument("--common", nargs="*", default=[], metavar="key=value", help="replaced in all variants")
    parser.add_argument("--per-molecule", type=int, default=3, help="spectra of each in validation (default: 3)")
    parser.add_argument("--plot", type=Path, help=".png of the learning curves")
    args = parser.parse_args()

    recipe = Recipe.load(args.recipe, args.common)
    rows = load_queries(recipe.data["validation"], per_molecule=args.per_molecule)
    molecules = [row["inchikey"] for row in rows]
    truth = np.stack([morgan_fingerprint(row["smiles"]) for row in rows]).astype(bool)
    losses, similarities, curves = {}, {}, {}
    for variant in args.variant:
        name, _, overrides = variant.partition(":")
        folder = args.output / name.replace(" ", "-").replace("/", "")
        if not (folder / "model.safetensors").exists():
            train([args.recipe, "--output", str(folder), "--resume", *args.common, *overrides.split()])
        logits = expected_bits(folder, rows)
        losses[name] = (np.logaddexp(0, logits) - truth * logits).sum(1) / truth.sum(1)
        similarities[name] = fingerprint_tanimoto(1 / (1 + np.exp(-logits)) >= PROBABLE, truth)
        curves[name] = learning_curve(folder)

    print(f"\n{len(rows)} spectra of {len(set(molecules))} molecules, {recipe.data['validation']}\n")
    print(f"| variant | loss, nats a set bit | difference | Tanimoto, bits from {PROBABLE} | difference |")
    print("|---|---|---|---|---|")
    first = next(iter(losses))
    for name in losses:
        cells = [name]
        for values in (losses, similarities):
            cells.append(str(bootstrap_over_molecules(values[name], molecules)))
            cells.append("" if name == first else str(paired_difference(values[name], values[first], molecules)))
        print(f"| {' | '.join(cells)} |")
    if args.plot:
        plot(curves, args.plot)


def expected_bits(folder, rows) -> np.ndarray:
    """Logits `(spectra, bits)`."""
    model = DreamsForSequenceClassification.from_pretrained(folder).eval()
    feature_extractor = Spec2MolFeatureExtractor.from_pretrained(folder)
    queries = for_track(rows, "mass" if feature_extractor.explain_ppm is None else "formula")
    return predict(lambda **x: model(**x).logits, feature_extractor, queries, 64, folder.name).astype(np.float64)


def learning_curve(folder) -> tuple[list[int], list[float]]:
    """Examples seen, and validation loss, at each evaluation."""
    checkpoint = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    points = [entry for entry in state["log_history"] if "eval_loss" in entry]
    return [entry["step"] * state["train_batch_size"] for entry in points], [entry["eval_loss"] for entry in points]


def plot(curves, path):
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
