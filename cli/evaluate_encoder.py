"""`spec2mol evaluate-encoder --model DIR --data val.parquet`: figures of a DreaMS head on labelled spectra, beside the
same with the peaks removed (the precursor stays); of one that explains peaks by the formula, also without being told
it; and for similarity, plain cosine."""

import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from tqdm import tqdm
from transformers import AutoConfig

from ..chemistry_spec2mol import molecular_formula, morgan_fingerprint, parse_formula
from ..evaluation.downstream import (
    embedding_similarities,
    fingerprint_tanimoto,
    of_other_ions,
    precision_recall,
    same_molecule_hits,
)
from ..evaluation.evaluator import for_track, load_queries
from ..evaluation.intervals import bootstrap_over_molecules
from ..evaluation.leakage import check_unseen
from ..evaluation.library_search import cosine_similarities
from ..evaluation.report import Table, to_rich, write_tables
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from ..formulas_spec2mol import rank_formulas
from ..loading import load_encoder
from ..modeling_dreams import DreamsForSequenceClassification


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="folder or Hub name, of any stage that has a spectrum encoder")
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability from which on yes is said (0.5)")
    parser.add_argument("--batch-size", type=int, default=64, help="spectra at a time (default: 64)")
    parser.add_argument(
        "--limit-per-molecule", type=int, metavar="N", help="at most N random spectra of each molecule (default: all)"
    )
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown file to write the table into, by section")


def run(args) -> int:
    rows = load_queries(args.data, args.limit_per_molecule)
    unseen = check_unseen(args.model, rows)
    architectures = AutoConfig.from_pretrained(args.model).architectures or ()
    if "DreamsForSequenceClassification" in architectures:
        table = classification_table(args, rows)
    else:
        table = similarity_table(args, rows)
    console = Console(width=120)
    console.print(to_rich(table))
    molecules = len({row["inchikey"] for row in rows})
    notes = [f"{len(rows)} spectra of {molecules} molecules ({args.data.name}).", unseen]
    console.print("\n".join(notes), highlight=False)
    if args.docs:
        title = f"{Path(args.model).name}, {args.data.stem}, encoder alone"
        write_tables(args.docs, title, notes, command(args), [table])
    return 0


def command(args) -> list:
    """The words that give the figures again."""
    words = ["spec2mol", "evaluate-encoder", "--model", args.model, "--data", args.data]
    words += [] if args.threshold == 0.5 else ["--threshold", args.threshold]
    return words + (["--limit-per-molecule", args.limit_per_molecule] if args.limit_per_molecule else [])


def classification_table(args, rows) -> Table:
    model = DreamsForSequenceClassification.from_pretrained(args.model).eval()
    feature_extractor = Spec2MolFeatureExtractor.from_pretrained(args.model)
    # Explained peaks need the formula; a model that was trained without it must not be told.
    track = "mass" if feature_extractor.explain_ppm is None else "formula"
    molecules = [row["inchikey"] for row in rows]
    ways = {"with peaks": for_track(rows, track)}
    if track == "formula":
        ppm = feature_extractor.explain_ppm
        formulas = [likeliest_formula(row, ppm) for row in tqdm(rows, desc="formulas", disable=None)]
        supposed = [row | {"formula": formula} for row, formula in zip(rows, formulas, strict=True)]
        ways |= {"explained by the formula that mass and peaks suggest": supposed}
        ways |= {"not explained": for_track(rows, "mass")}
    ways["peaks removed"] = for_track(rows, track, peaks=False)
    lines = []
    for name, queries in ways.items():
        logits = predict(lambda **x: model(**x).logits, feature_extractor, queries, args.batch_size, name)
        if model.config.problem_type == "multi_label_classification":
            size = model.config.num_labels
            truth = np.stack([morgan_fingerprint(row["smiles"], size) for row in rows])
            tanimoto = fingerprint_tanimoto(torch.from_numpy(logits).sigmoid().numpy() >= args.threshold, truth)
            lines.append([name, bootstrap_over_molecules(tanimoto, molecules)])
            columns = ["", f"fingerprint Tanimoto, bits from {args.threshold:g}"]
        else:
            truth = ["F" in parse_formula(molecular_formula(row["smiles"])) for row in rows]
            probability = torch.from_numpy(logits).softmax(-1)[:, model.config.label2id["fluorine"]].numpy()
            lines.append([name, *precision_recall(probability, truth, args.threshold, molecules)])
            columns = ["", f"precision, fluorine from {args.threshold:g}", "recall"]
    if "fluorine" in model.config.label2id:
        lines.append(["always said", *precision_recall(np.ones(len(truth)), truth, args.threshold, molecules)])
    return Table(f"{args.model}, track {track}", columns, lines)


def likeliest_formula(row, ppm: float) -> str | None:
    try:
        return next((candidate.formula for candidate in rank_formulas(row, ppm, 1)), None)
    except ValueError:  # an adduct that is not known, or too heavy a molecule
        return None


def similarity_table(args, rows) -> Table:
    embed, feature_extractor = load_encoder(args.model)
    molecules, precursors = ([row[name] for row in rows] for name in ("inchikey", "precursor_mz"))
    mz = np.asarray(precursors)
    similarities = {}
    for peaks, name in ((True, "embeddings"), (False, "embeddings, peaks removed")):
        queries = for_track(rows, "mass", peaks)
        similarities[name] = embedding_similarities(predict(embed, feature_extractor, queries, args.batch_size, name))
    similarities["plain cosine"] = list(cosine_similarities(rows, rows))
    similarities["precursor m/z alone"] = -np.abs(mz[:, None] - mz)
    lines = []
    for name, matrix in similarities.items():
        line = [name]
        for among in (matrix, of_other_ions(matrix, precursors)):
            hits = same_molecule_hits(among, molecules)
            found = ~np.isnan(hits)
            line.append(bootstrap_over_molecules(hits[found], np.asarray(molecules)[found]) if found.any() else "")
        lines.append(line)
    columns = ["nearest other spectrum is of the same molecule", "of all spectra", "of other ions (precursor m/z)"]
    return Table(str(args.model), columns, lines)


@torch.no_grad()
def predict(model, feature_extractor, rows, batch_size, description) -> np.ndarray:
    outputs = []
    for start in tqdm(range(0, len(rows), batch_size), desc=description, file=sys.stderr, disable=None):
        inputs = feature_extractor(rows[start : start + batch_size], return_tensors="pt")
        outputs.append(model(**inputs).float().numpy())
    return np.concatenate(outputs)
