"""What a detection is worth: the network's score and what the light itself says, put together as a probability.

The network sees shapes in encoded tiles, of the frame at two sizes: what it sees at one only is less often dust. The
measured shadow says something else: by how much the light around the detection is likelier with a shadow there than
with the scene's texture alone (`dustd.spots.measure`). None of these is a probability; a logistic regression on
held-out photographs makes one of all (`dustd.train.calibration`).
"""

import math
from dataclasses import dataclass

# Visible spots on a body in ordinary use, for which a probability is given: about 20 on 45 MP (facts §1.2: 22 and 19 on
# two uncleaned bodies; §4).
SPOTS_PER_MP = 0.44
# The least that a score at the other size counts for: half of what a network still answers with (`model.FLOOR_LOGIT`).
LEAST_SECOND = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """logit(probability) = *slope* · logit(score) + *second* · logit(second score) + *light* · ln(1 + gain)
    + *intercept*.

    The second score is the network's at the other of the two sizes. *gain* is `Shadow.gain`, a difference of
    log-likelihoods. Detections that score below *measured_from* are never
    dust, whatever the light says: they come up more often than any sensitivity asks for, and are not measured.
    """

    slope: float = 1.0
    second: float = 0.0
    light: float = 0.0
    intercept: float = 0.0
    measured_from: float = 0.0

    def probability(self, score: float, gain: float, second_score: float = 0.0) -> float:
        """Give the probability that a detection of this *score* and *second_score* (0 to 1) is dust, the light having
        said *gain*."""
        logit = (
            self.slope * _logit(min(max(score, 1e-6), 1 - 1e-6))
            + self.second * _logit(min(max(second_score, LEAST_SECOND), 1 - 1e-6))
            + self.light * math.log1p(gain)
            + self.intercept
        )
        return 1 / (1 + math.exp(-min(max(logit, -40.0), 40.0)))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
