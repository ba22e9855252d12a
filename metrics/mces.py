"""The lowest myopic MCES distance (threshold 15) among the first k answers; 100 without an answer."""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import lowest_mces


class MCES(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return lowest_mces(answers, truth, ks)
