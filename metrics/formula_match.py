"""The share of k places that hold a molecule of the true molecular formula."""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import formula_match, share


class FormulaMatch(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return [share([formula_match(answer, truth) for answer in answers], k) for k in ks]
