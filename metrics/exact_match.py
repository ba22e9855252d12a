"""Is the true molecule (same first InChIKey block) among the first k answers?"""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import best, exact_match


class ExactMatch(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return [best([exact_match(answer, truth) for answer in answers], k) for k in ks]
