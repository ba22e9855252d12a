"""What the modules in metrics/, for the `evaluate` library, have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf

from ..chemistry_spec2mol import inchikey_block
from .intervals import bootstrap_over_molecules


class AnswersMetric(evaluate.Metric, ABC):
    """A figure of ranked answers.

    predictions: for each spectrum its answers, SMILES, best first; an empty list where there is none.
    references: the true SMILES. Spectra of one molecule (first InChIKey block) are averaged first.

    Returns `{name}@{k}` with the bounds of its 95% bootstrap interval, `{name}@{k}_low` and `_high`.
    """

    description: str
    citation = ""

    @abstractmethod
    def score(self, answers: Sequence[str], truth: str, ks: Sequence[int]) -> list[float]:
        """The figure of one spectrum at each k."""

    def _info(self):
        return evaluate.MetricInfo(
            description=self.description,
            citation=self.citation,
            inputs_description=AnswersMetric.__doc__,
            features=Features({"predictions": ListOf(Value("string")), "references": Value("string")}),
        )

    def _compute(self, predictions, references, ks=(1, 10)):
        molecules = [inchikey_block(smiles) for smiles in references]
        scores = [self.score(*pair, sorted(ks)) for pair in zip(predictions, references, strict=True)]
        result = {}
        for k, values in zip(sorted(ks), zip(*scores, strict=True), strict=True):
            mean, low, high = bootstrap_over_molecules(values, molecules)
            result |= {f"{self.name}@{k}": mean, f"{self.name}@{k}_low": low, f"{self.name}@{k}_high": high}
        return result
