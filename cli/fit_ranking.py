"""`spec2mol fit-ranking MODEL --data val.parquet`: weights for ranking a model's answers and probabilities for them,
fitted on labelled spectra that it was not trained on, and stored in its folder, with the fragmentation model that
compares answers with peaks."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from ..evaluation.calibration import forecasts
from ..evaluation.evaluator import TRACKS, draw, for_track, load_queries, score_pools, summarise
from ..evaluation.fitting import (
    cross_fit,
    fit_ranking,
    honest_weights,
    label_pools,
    save_ranking,
)
from ..evaluation.intervals import paired_difference
from ..evaluation.leakage import check_unseen
from ..evaluation.report import Table, calibration_tables, to_rich
from ..loading import load_model
from ..ranking_spec2mol import DEFAULT_WEIGHTS, EVIDENCE, FEATURES, evidence, weigh
from ..saving import is_half, save_for_hub
from ..simulation.simulate import fitted_molecules, load_fragmentation
from ..training.record import record_molecules

GAIN = "tanimoto@1"
SHOWN = {
    "exact_match@1": "exact, Top-1",
    "exact_match@10": "exact, Top-10",
    "tanimoto@1": "Tanimoto, Top-1",
    "tanimoto@10": "Tanimoto, best of ten",
}


def add_arguments(parser):
    parser.add_argument("model", help="folder of a model, which gets the weights")
    parser.add_argument(
        "--data", type=Path, required=True, nargs="+", help="parquet files of labelled spectra, not of training"
    )
    parser.add_argument(
        "--limit-per-molecule", type=int, default=2, metavar="N", help="random spectra of each molecule (default: 2)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what it would give, and store nothing")


def run(args) -> int:
    if args.limit_per_molecule < 1:
        raise ValueError("--limit-per-molecule must be at least 1")
    if not Path(args.model, "config.json").is_file():
        raise ValueError(f"{args.model}: no folder of a model; its weights are stored in its config.json")
    rows = [row for path in args.data for row in load_queries(path, args.limit_per_molecule)]
    unseen = check_unseen(args.model, rows)  # Of what it knows by heart, a model is too sure.
    model, processor = load_model(args.model)
    if model.model.encoder is None:
        raise ValueError(f"{args.model}: a language model alone, without a spectrum encoder")
    if is_new := model.model.fragmentation is None:
        model.model.fragmentation = load_fragmentation()
        model.config.fragmentation_config = model.model.fragmentation.config
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    pools = {track: draw(model, processor, for_track(rows, track), desc=track).pools for track in TRACKS}
    labelled = [pool for track in TRACKS for pool in label_pools(rows, pools[track])]
    ranking, folds = fit_ranking(labelled), cross_fit(labelled)
    unfitted, fitted = ([scored(rows, pools, track, *of) for track in TRACKS] for of in ((None, []), (ranking, folds)))
    console = Console(width=120)
    for track, before, after in zip(TRACKS, unfitted, fitted, strict=True):
        console.print(to_rich(quality_table(track, before, after)))
    before, after = pd.concat(unfitted), pd.concat(fitted)
    gain = paired_difference(after[GAIN], before[GAIN], after["inchikey"])
    if gain.low > 0:
        console.print(f"The fitted order is kept: it gains {gain} of {SHOWN[GAIN]}, over both tracks.")
    else:
        console.print(f"The order stays as it is: the fitted one gains {gain} of {SHOWN[GAIN]}, over both tracks.")
        ranking, folds = fit_ranking(labelled, DEFAULT_WEIGHTS), cross_fit(labelled, DEFAULT_WEIGHTS)
    console.print(to_rich(weights_table(ranking, labelled)))
    for track in TRACKS:
        for table in calibration_tables(forecasts(scored(rows, pools, track, ranking, folds)))[:1]:
            console.print(to_rich(table._replace(title=f"{table.title}, track {track}")))
    console.print(f"Figures are of weights that were fitted on other molecules ({len(folds)} folds). {unseen}")
    if not args.dry_run:
        if is_new:
            save_for_hub(model, processor, args.model, half=is_half(args.model))
            record_molecules(args.model, fitted_molecules())
        save_ranking(args.model, ranking, folds)
        console.print(
            f"The weights fitted on all {len({pool.molecule for pool in labelled})} are now in {args.model}."
        )
    return 0


def scored(rows, pools, track, ranking, folds) -> pd.DataFrame:
    """Lines of `score_pools`, each molecule with weights that know nothing of it."""
    return score_pools(rows, pools[track], honest_weights(ranking, folds, rows)[0])


def weights_table(ranking, labelled) -> Table:
    """Of standardised features, which can be compared with each other."""
    numbers = dict(zip(FEATURES, np.concatenate([pool.features for pool in labelled]).T, strict=True))
    found = [evidence(pool.features, weigh(pool.features, ranking["order"])) for pool in labelled]
    numbers |= dict(zip(EVIDENCE, np.concatenate(found).T, strict=True))
    rows = [
        [name, *(f"{of[name] * values.std():+.2f}" if name in of else "" for of in ranking.values())]
        for name, values in numbers.items()
    ]
    return Table("Weights, a standard deviation of the feature each", ["", "order", "right", "close"], rows)


def quality_table(track, before, after) -> Table:
    """What the weights change, over the same pools."""
    figures = {"before": summarise(before), "fitted": summarise(after)}
    rows = [[name, *(of_one[figure] for figure in SHOWN)] for name, of_one in figures.items()]
    rows.append(["gain", *(paired_difference(after[figure], before[figure], after["inchikey"]) for figure in SHOWN)])
    return Table(f"Track {track}", ["", *SHOWN.values()], rows)
