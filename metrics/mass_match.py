"""The share of k places that hold a molecule whose monoisotopic mass is within 10 ppm of the true one."""

from spec2mol.evaluation.metric_module import AnswersMetric
from spec2mol.evaluation.metrics import mass_match, share


class MassMatch(AnswersMetric):
    description = __doc__

    def score(self, answers, truth, ks):
        return [share([mass_match(answer, truth) for answer in answers], k) for k in ks]
