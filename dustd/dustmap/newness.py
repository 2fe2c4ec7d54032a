"""How far a sighting is new evidence: not the same piece of the scene again, or changed as only a shadow does.

Surroundings are compared by `dustd.dustmap.scene`; what the aperture tells is reckoned here
(facts/optics-and-evidence.md §1.1: width by 1/N, depth by N²). Pure.
"""

import math
from collections.abc import Sequence

from dustd.dustmap.match import DEPTH_CHANGE_ERROR, WIDTH_CHANGE_ERROR, changes_since
from dustd.dustmap.particle import Particle, Prediction, Scene, Sighting, View
from dustd.dustmap.scene import independences
from dustd.spots.spot import Spot

# Log-likelihood ratio of dust against a repeated speck at which a change of aperture begins to tell, and at which it
# tells as much as it can; our choice: two thirds of a stop say nothing, two stops nearly all. Even then a speck far out
# of focus could do the same.
TELLS_FROM, TELLS_ALL, TELLS_MOST = 4.0, 8.0, 0.8


def newness(particle: Particle, earlier: Sighting, weight: float, at: Prediction, spot: Spot, view: View) -> float:
    """Weigh a sighting after an earlier one: 1 if it cannot be the same piece of the scene, towards 0 if it may be.

    Either the surroundings are others (*weight*); or another focal length would have moved a thing, and did not move
    the spot; or the spot changed with the aperture as a shadow does and a thing does not.
    """
    if view.focal_length_mm and earlier.focal_length_mm:
        moved_px = math.hypot(earlier.mx, earlier.my) * abs(math.log(view.focal_length_mm / earlier.focal_length_mm))
        weight = max(weight, min(max(moved_px / (at.radius_px + at.radial_px) - 1.0, 0.0), 1.0))
    if weight >= 1 or not (view.f_number and earlier.f_number):
        return weight

    told = _told_by_aperture(particle, earlier, at, spot)
    return max(weight, TELLS_MOST * min(max((told - TELLS_FROM) / (TELLS_ALL - TELLS_FROM), 0.0), 1.0))


def _told_by_aperture(particle: Particle, earlier: Sighting, at: Prediction, spot: Spot) -> float:
    """Say how much likelier the change since an earlier sighting is a shadow's than a mark's of the scene, as ln.

    With the aperture a shadow's width goes by 1/N and its depth by N² (§1.1); a mark keeps both.
    """

    def tells(change: float, foretold: float, error: float) -> float:
        return (change**2 - (change - foretold) ** 2) / (2 * error**2)

    depth, width = changes_since(particle, earlier, at, spot)
    return tells(*depth, DEPTH_CHANGE_ERROR) + tells(*width, WIDTH_CHANGE_ERROR)


def against(particle: Particle, others: Sequence[float], at: Prediction, spot: Spot, view: View) -> float:
    """Say how far a spot speaks against a particle, 0 or less, as ln: where the scene is the one it was seen in before
    (*others* as `otherness` gives it) and the aperture is another, but the spot looks as it did."""
    if not view.f_number:
        return 0.0
    told = [
        (1 - weight) * _told_by_aperture(particle, earlier, at, spot)
        for earlier, weight in zip(particle.sightings, others, strict=True)
        if earlier.f_number
    ]
    return max(min([*told, 0.0]), -TELLS_FROM)


def otherness(scenes: Sequence[Scene], at: Prediction, view: View) -> list[float]:
    """Weigh a frame by how far the surroundings of the predicted place differ from those of each earlier frame."""
    earlier = [scene.evidence for scene in scenes]
    return independences(view.evidence, earlier, at.x, at.y, at.diameter_px).tolist()
