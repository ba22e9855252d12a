"""Fits what `rank_formulas` ranks by and writes it as the module that ships with every model:

    python -m spec2mol.training.formula_ranking --spectra ../shared/data/massbank/train.parquet \\
        --molecules ../shared/data/molecules/train.parquet --output formula_weights_spec2mol.py

Formulas hold what the module already there lets them hold: if the molecules are others, run it twice. One random
spectrum of each molecule is used. MassBank's precursor m/z are for the most part computed from the formula; so that
the ranking relies on them no more than an instrument deserves, each gets a normally distributed error of 2 ppm.
"""

import argparse
import base64
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from torch import nn
from tqdm import tqdm

from ..chemistry_spec2mol import normalize_adduct, parse_formula
from ..formulas_spec2mol import (
    FORMULA_ELEMENTS,
    SHORTLIST,
    enumerate_formulas,
    hill_formula,
    peak_features,
    precursor_errors,
    prior_features,
    ranking_features,
)

PPM = 10.0
INSTRUMENT_PPM = 2.0
CANDIDATES = 200  # formulas of a spectrum that the linear part is fitted on, random ones beside the true one
CONTENDERS = 100  # formulas of a spectrum that the network is fitted on, the most plausible by mass and composition
HIDDEN = 32
WEIGHT_DECAY = 1e-3

MODULE = '''"""Fitted constants of formulas_spec2mol.py, written by `python -m spec2mol.training.formula_ranking`."""

from base64 import b85decode

import numpy as np


def _read(text, *shape):
    return np.frombuffer(b85decode("".join(text.split())), "<f4").reshape(shape)


# Molecules with each combination of elements beside C, H, N and O
COMBINATIONS = """
{combinations}
"""

# Of what mass and composition say: `prior_features`
PRIOR_WEIGHTS = _read(
    """
{prior}
""",
    {inputs_of_prior},
)

# A network of one hidden layer, of `ranking_features`
HIDDEN_WEIGHTS = _read(
    """
{hidden}
""",
    {inputs},
    {width},
)
HIDDEN_BIAS = _read(
    """
{bias}
""",
    {width},
)
OUTPUT_WEIGHTS = _read(
    """
{output}
""",
    {width},
)
'''


class Query(NamedTuple):
    """A spectrum, its formulas with their features by mass and composition, and the index of the true one."""

    spectrum: dict
    adduct: str
    counts: np.ndarray
    prior: np.ndarray
    truth: int


def read_combinations(path: str) -> Counter:
    """Molecules with each combination of elements beside C, H, N and O, as a formula; those of one are left out."""
    parameters = Chem.SmilesParserParams()
    parameters.sanitize = parameters.removeHs = False  # Hydrogens can be counted without.
    formulas = Counter()
    for smiles in tqdm(pd.read_parquet(path, columns=["smiles"])["smiles"], desc="molecules", disable=None):
        molecule = Chem.MolFromSmiles(smiles, parameters)
        molecule.UpdatePropertyCache(strict=False)
        formulas[CalcMolFormula(molecule)] += 1
    found = Counter()
    for formula, number in formulas.items():
        counts = parse_formula(formula)
        found[hill_formula([0, 0, 0, 0, *(counts.get(element, 0) for element in FORMULA_ELEMENTS[4:])])] += number
    return Counter({combination: number for combination, number in found.items() if number > 1})


def read_queries(path: str, limit: int | None) -> list[Query]:
    spectra = pd.read_parquet(path).sample(frac=1, random_state=0).groupby("inchikey").head(1)[:limit]
    rng = np.random.default_rng(0)
    queries = []
    for spectrum in tqdm(spectra.to_dict("records"), desc="formulas", disable=None):
        spectrum["precursor_mz"] *= 1 + rng.normal() * INSTRUMENT_PPM * 1e-6
        adduct = normalize_adduct(spectrum["adduct"])
        counts, log_frequency = enumerate_formulas(spectrum["precursor_mz"], adduct, PPM)
        truth = parse_formula(spectrum["formula"])
        (found,) = np.nonzero((counts == [truth.get(element, 0) for element in FORMULA_ELEMENTS]).all(1))
        if len(found):
            errors = precursor_errors(counts, spectrum["precursor_mz"], adduct)
            queries.append(
                Query(spectrum, adduct, counts, prior_features(counts, log_frequency, errors), int(found[0]))
            )
    print(f"{len(queries):,} spectra; of {len(spectra) - len(queries):,} the formula is not among those of their mass")
    return queries


def fit_softmax(model: nn.Module, examples: list[tuple[np.ndarray, np.ndarray]], steps: int) -> float:
    """Fits `model`, features -> scores `(formulas, 1)`, in place, so that the softmax over the formulas of a spectrum
    is likely to be the first of them. Returns the negative log likelihood of a spectrum in nats.

    Args:
        examples: of each spectrum features `(formulas, features)` and what to add to the scores `(formulas,)`.
    """
    sizes = [len(offsets) for _, offsets in examples]
    spectrum = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    first = torch.from_numpy(np.cumsum([0, *sizes[:-1]]))
    features, offsets = (
        torch.from_numpy(np.concatenate(part).astype(np.float32)) for part in zip(*examples, strict=True)
    )
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        scores = model(features)[:, 0] + offsets
        largest = torch.full((len(sizes),), -torch.inf).scatter_reduce(0, spectrum, scores.detach(), "amax")
        total = torch.zeros(len(sizes)).index_add(0, spectrum, (scores - largest[spectrum]).exp())
        return (total.log() + largest - scores[first]).mean()

    def closure():
        optimizer.zero_grad()
        value = loss() + WEIGHT_DECAY * sum(parameter.square().sum() for parameter in model.parameters())
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return loss().item()


class Standardised(nn.Module):
    """Inputs to mean 0 and standard deviation 1, then layers."""

    def __init__(self, features: np.ndarray, *layers: nn.Module):
        super().__init__()
        self.mean = torch.from_numpy(features.mean(0).astype(np.float32))
        self.scale = torch.from_numpy(features.std(0).astype(np.float32)) + 1e-6
        self.layers = nn.Sequential(*layers)

    def forward(self, features):
        return self.layers((features - self.mean) / self.scale)

    def first_layer(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights `(features, outputs)` and bias `(outputs,)` for inputs as they are."""
        weight = (self.layers[0].weight / self.scale).detach()
        bias = self.layers[0].bias.detach() - weight @ self.mean
        return weight.T.numpy(), bias.numpy()


def fit_prior(queries: list[Query]) -> np.ndarray:
    """Weights of `prior_features`."""
    rng = np.random.default_rng(0)
    examples = []
    for query in queries:
        others = np.delete(np.arange(len(query.counts)), query.truth)
        drawn = rng.permutation(others)[:CANDIDATES]
        stand_for = np.log(max(len(others), 1) / max(len(drawn), 1))
        offsets = np.concatenate([[0.0], np.full(len(drawn), stand_for)])
        examples.append((query.prior[[query.truth, *drawn]], offsets))
    features = np.concatenate([features for features, _ in examples])
    model = Standardised(features, nn.Linear(features.shape[1], 1))
    print(f"mass and composition: {fit_softmax(model, examples, 100):.3f} nats a spectrum")
    return model.first_layer()[0][:, 0]


def fit_network(queries: list[Query], prior_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and bias of the hidden layer, and weights of the output."""
    examples, outside = [], 0
    for query in tqdm(queries, desc="fragments", disable=None):
        plausible = query.prior @ prior_weights
        rank = (plausible > plausible[query.truth]).sum()
        outside += rank >= SHORTLIST
        kept = np.argsort(-plausible, kind="stable")[:CONTENDERS]
        kept = np.concatenate([[query.truth], kept[kept != query.truth]])
        counts = query.counts[kept]
        evidence = peak_features(query.spectrum, counts, query.adduct, PPM)
        features = ranking_features(query.spectrum, counts, query.adduct, query.prior[kept], evidence)
        examples.append((features.astype(np.float32), np.zeros(len(kept))))
    features = np.concatenate([features for features, _ in examples])
    model = Standardised(features, nn.Linear(features.shape[1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1, bias=False))
    print(f"with fragments: {fit_softmax(model, examples, 60):.3f} nats a spectrum; {outside} not in the shortlist")
    return *model.first_layer(), model.layers[2].weight.detach().numpy()[0]


def as_text(values: np.ndarray, width: int = 115) -> str:
    text = base64.b85encode(values.astype("<f4").tobytes()).decode()
    return "\n".join(text[i : i + width] for i in range(0, len(text), width))


def wrapped(words: list[str], width: int = 119) -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", required=True, help="parquet file of labelled spectra")
    parser.add_argument("--molecules", required=True, help="parquet file with a column smiles")
    parser.add_argument("--output", type=Path, required=True, help="formula_weights_spec2mol.py")
    parser.add_argument("--limit", type=int, help="use only so many molecules of the spectra")
    args = parser.parse_args()

    torch.manual_seed(0)
    queries = read_queries(args.spectra, args.limit)
    prior_weights = fit_prior(queries)
    hidden, bias, output = fit_network(queries, prior_weights)
    combinations = read_combinations(args.molecules)
    args.output.write_text(
        MODULE.format(
            combinations=wrapped([f"{formula}:{number}" for formula, number in combinations.most_common()]),
            prior=as_text(prior_weights),
            inputs_of_prior=len(prior_weights),
            hidden=as_text(hidden),
            inputs=len(hidden),
            width=HIDDEN,
            bias=as_text(bias),
            output=as_text(output),
        ),
        encoding="utf-8",
    )
    print(f"{args.output}: written")


if __name__ == "__main__":
    main()
