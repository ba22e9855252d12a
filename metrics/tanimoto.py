"""The highest Tanimoto similarity (Morgan fingerprints, radius 2, 2,048 bits) among the first k answers."""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import best, tanimoto


class Tanimoto(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return [best([tanimoto(answer, truth) for answer in answers], k) for k in ks]
