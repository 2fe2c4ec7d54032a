"""What a detection is worth: the network's score and what the light itself says, put together as a probability.

The network sees shapes in encoded tiles. The measured shadow says something else: by how much the light around the
detection is likelier with a shadow there than with the scene's texture alone (`dustd.spots.measure`). Neither is a
probability; a logistic regression on held-out photographs makes one of both (`dustd.train.calibration`).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """logit(probability) = *slope* · logit(score) + *light* · ln(1 + gain) + *intercept*.

    *gain* is `Shadow.gain`, a difference of log-likelihoods. Detections that score below *measured_from* are never
    dust, whatever the light says: they come up more often than any sensitivity asks for, and are not measured.
    """

    slope: float = 1.0
    light: float = 0.0
    intercept: float = 0.0
    measured_from: float = 0.0

    def probability(self, score: float, gain: float) -> float:
        """Give the probability that a detection of this *score* (0 to 1) is dust, the light having said *gain*."""
        score = min(max(score, 1e-6), 1 - 1e-6)
        logit = self.slope * math.log(score / (1 - score)) + self.light * math.log1p(gain) + self.intercept
        return 1 / (1 + math.exp(-min(max(logit, -40.0), 40.0)))
