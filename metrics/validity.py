"""The share of k places that hold a molecule RDKit can read."""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import share, valid


class Validity(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return [share([valid(answer) for answer in answers], k) for k in ks]
