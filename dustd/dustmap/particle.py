"""The values of the dust map, and what a particle must look like in a given frame.

A particle's place is in map coordinates (`dustd.raw.frame.centred`), a prediction in those of the frame. Knows nothing
of how beliefs change: that is `dustd.dustmap.decide`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dustd.dustmap.evidence import FAINTEST, Evidence, visible_from
from dustd.dustmap.lenses import FOCUS_SPREAD, PLACE_ERROR_PX, BodyOptics, focal_bin_mm
from dustd.raw.frame import Camera, from_centre
from dustd.spots import optics
from dustd.spots.shape import Outline, Shape, shape_of

EVIDENCE_SCORE = 0.2  # score at which false spots are .1 per megapixel, for models that do not say
# Pd by clearness, a spot's attenuation over the smallest that could be seen where it lies (`dustd.dustmap.evidence`),
# of being listed at all; fitted to 856 spots 12 to 60 px wide drawn over 12 held-out photographs
# (tests/bench/detectability.py: .98, .95, 1.5). Whatever the texture, spots below some 2 % are hard to find there: of
# those of 1 to 2 % a quarter was.
BEST_DETECTION, HALF_CLEARNESS, CLEARNESS_POWER = 0.95, 0.95, 1.8
FAINT = 0.02
# Of shadows in generated frames of which the limits say that they could hardly be seen (clearness below .25), 5 in 100
# were listed (bench_map, table 5): the limits are those of cells several spots wide.
HIDDEN_DETECTION = 0.03
# Standard deviations of a measured place that make the match radius; our choice: of 330 spots in generated frames 95 %
# lay within 1.1 px and .05 diameters of the truth, 99 % within 2.8 px and .1.
RADIUS_SIGMAS = 5.0
UNKNOWN_DETECTION = 0.5  # our choice: Pd of a sighting where the aperture is unknown
TOUCHED_FROM = 5  # particles in a frame: one more than a good swab leaves (§1.2: 2 and 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a frame brings to the map besides its spots; *evidence_score* is where false spots are .1 per megapixel."""

    frame_id: str
    width: int
    height: int
    f_number: float | None = None
    focal_length_mm: float | None = None
    lens: str | None = None
    pixel_pitch_um: float | None = None
    taken_at: str | None = None
    evidence: Evidence
    evidence_score: float = EVIDENCE_SCORE


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The surroundings of one frame that has already spoken for or against a particle."""

    frame_id: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One frame in which a particle was seen: where (map coordinates), how, through what.

    *independence* says how far its surroundings were new then, up to 1 (`dustd.dustmap.evidence`), *worth* what it
    counts among the frames that confirm a particle, as a share of a plain sighting.
    """

    scene: Scene
    mx: float
    my: float
    diameter_px: float
    attenuation: float
    f_number: float | None
    focal_length_mm: float | None
    lens: str | None
    independence: float = 1.0
    worth: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one lens at one focal length (bin) has shown a particle: the mean of *count* sightings, map coordinates."""

    lens: str | None
    focal_mm: float | None
    mx: float
    my: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """Dust on the sensor, as far as we know; *mx*, *my* where the body's reference lens shows it
    (`dustd.dustmap.lenses`).

    *strength_px2* is the light it takes at any aperture, *blur_constant* its blur at f/1, *opacity* the deepest it can
    get (all `dustd.spots.optics`). *frames_seen* counts sightings, *frames_eligible* the frames in which it would have
    been visible, *independent_frames* the sightings in new or partly new surroundings. *sightings* and *missed_in* keep
    the latest scenes, *places* where each lens has shown it, *outline* what all independent sightings say of its shape.
    *remembered* marks dust known from before the last cleaning.
    """

    id: str
    mx: float
    my: float
    strength_px2: float
    blur_constant: float
    opacity: float
    log_odds: float
    confirmed: bool = False
    ever_confirmed: bool = False
    remembered: bool = False
    first_seen: str | None
    last_seen: str | None
    frames_seen: int = 1
    frames_eligible: int = 1
    independent_frames: int = 1
    f_numbers: tuple[float, ...] = ()
    places: tuple[Place, ...] = ()
    sightings: tuple[Sighting, ...]
    missed_in: tuple[Scene, ...] = ()
    outline: Outline | None = None

    @property
    def confidence(self) -> float:
        """Probability that this is dust on the sensor."""
        return 1 / (1 + math.exp(-self.log_odds))

    @property
    def shape(self) -> Shape | None:
        """Whether it is a speck, a fibre or a ring; None as long as no frame shows, or one alone does."""
        return shape_of(self.outline) if self.confirmed or self.remembered else None

    def attenuation_at(self, f_number: float) -> float:
        """Predict the light lost at its centre at another aperture."""
        return optics.predict_attenuation(self.strength_px2, self.blur_constant / f_number, self.opacity)

    def diameter_px_at(self, f_number: float) -> float:
        """Predict its width at half depth at another aperture."""
        return optics.predict_diameter_px(self.strength_px2, self.blur_constant / f_number, self.opacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Where and how a particle must show in a frame (frame coordinates).

    It lies within *radius_px* of (x, y), and *radial_px* more along *outwards*, the unit vector from the sensor's
    centre: as far as the lens may move it. *attenuation* is None where the aperture is unknown: nothing is predicted
    from it then, and not seeing the particle says nothing. *p_visible* is the probability that it would be found, 0
    outside the frame.
    """

    x: float
    y: float
    outwards: tuple[float, float]
    radius_px: float
    radial_px: float
    diameter_px: float
    attenuation: float | None
    p_visible: float

    @property
    def area_px2(self) -> float:
        """The area in which it may lie."""
        return math.pi * self.radius_px * (self.radius_px + self.radial_px)

    def away(self, x: float, y: float) -> float:
        """Say how far a point lies from the predicted place, 1 at the limit of where the particle may be."""
        dx, dy = x - self.x, y - self.y
        along = dx * self.outwards[0] + dy * self.outwards[1]
        aside = dx * self.outwards[1] - dy * self.outwards[0]
        return math.hypot(along / (self.radius_px + self.radial_px), aside / self.radius_px)

    def log_density(self, x: float, y: float) -> float:
        """Give the natural logarithm of the probability, per px², that the particle is measured to lie at a point."""
        aside_px = self.radius_px / RADIUS_SIGMAS
        along_px = max(aside_px, self.radial_px / 2)
        dx, dy = x - self.x, y - self.y
        along = (dx * self.outwards[0] + dy * self.outwards[1]) / along_px
        aside = (dx * self.outwards[1] - dy * self.outwards[0]) / aside_px
        return -(along**2 + aside**2) / 2 - math.log(2 * math.pi * along_px * aside_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class DustMap:
    """All particles of one body in one epoch, and the body's history as far as the report needs it.

    *frames* and *frames_stopped_down* (f/8 and narrower) count the epoch's frames; *cleanings* are ISO dates.
    *before* are the particles that were confirmed when the last cleaning ended their epoch; *cleaning_noticed* says
    that nobody declared it. *recent_frames* counts the latest frames looked at for how many of them were touched,
    that is, showed more confirmed particles than a good cleaning leaves. *frame_names* gives the source names of the
    frames that sightings refer to, by frame_id.
    """

    body_id: str
    make: str | None
    model: str | None
    width: int
    height: int
    frames: int
    frames_stopped_down: int
    first_frame_at: str | None
    last_frame_at: str | None
    cleanings: tuple[str, ...]
    particles: tuple[Particle, ...]
    before: tuple[Particle, ...] = ()
    cleaning_noticed: bool = False
    recent_frames: int = 0
    recent_touched: int = 0
    frame_names: Mapping[str, str] = field(default_factory=dict)


def view_of(camera: Camera, *, frame_id: str, width: int, height: int, evidence: Evidence, score: float | None) -> View:
    """Gather a frame's view; *score* is the model's evidence score, None where it does not say."""
    return View(
        frame_id=frame_id,
        width=width,
        height=height,
        f_number=camera.f_number,
        focal_length_mm=camera.focal_length_mm,
        lens=camera.lens,
        pixel_pitch_um=camera.pixel_pitch_um,
        taken_at=camera.taken_at,
        evidence=evidence,
        evidence_score=EVIDENCE_SCORE if score is None else score,
    )


def is_told(particle: Particle, view: View) -> bool:
    """Ask whether a particle's shape is known and this frame cannot tell it better: it is stopped down no further."""
    told_at = max(particle.f_numbers, default=0.0)
    return particle.shape is not None and view.f_number is not None and view.f_number <= told_at


def visibility(attenuation: float, view: View, x: float, y: float) -> float:
    """Give the probability Pd that a spot of this attenuation at (x, y) would be found; 0 below FAINTEST.

    That is what makes frames taken wide open prove nothing, whatever seems to be seen in them.
    """
    if attenuation < FAINTEST:
        return 0.0
    clearness = attenuation / max(visible_from(view.evidence, x, y), FAINT)
    odds = (clearness / HALF_CLEARNESS) ** CLEARNESS_POWER
    return max(BEST_DETECTION * odds / (1 + odds), HIDDEN_DETECTION)


def places_of(sightings: Sequence[Sighting]) -> tuple[Place, ...]:
    """Average sightings by lens and focal length."""
    places: tuple[Place, ...] = ()
    for sighting in sightings:
        places = with_sighting(places, sighting)
    return places


def with_sighting(places: tuple[Place, ...], sighting: Sighting) -> tuple[Place, ...]:
    """Average one more sighting into the place of its lens and focal length."""
    key = (sighting.lens, focal_bin_mm(sighting.focal_length_mm))
    for index, place in enumerate(places):
        if (place.lens, place.focal_mm) == key:
            count = place.count + 1
            mx, my = place.mx + (sighting.mx - place.mx) / count, place.my + (sighting.my - place.my) / count
            return (*places[:index], replace(place, mx=mx, my=my, count=count), *places[index + 1 :])
    return (*places, Place(lens=key[0], focal_mm=key[1], mx=sighting.mx, my=sighting.my, count=1))


def predict(particle: Particle, view: View, body: BodyOptics) -> Prediction:
    """Predict where, how wide, how deep and how surely a particle shows in a frame of a body with these optics."""
    mx, my, sigma_px = whereabouts(particle.places, body, view.lens, focal_bin_mm(view.focal_length_mm))
    x, y = from_centre(mx, my, width=view.width, height=view.height)
    inside = -0.5 <= x < view.width - 0.5 and -0.5 <= y < view.height - 0.5
    if view.f_number:
        attenuation = particle.attenuation_at(view.f_number)
        diameter_px = particle.diameter_px_at(view.f_number)
        p_visible = visibility(attenuation, view, x, y)
    else:
        attenuation, diameter_px, p_visible = None, particle.sightings[-1].diameter_px, UNKNOWN_DETECTION
    from_centre_px = math.hypot(mx, my)
    return Prediction(
        x=x,
        y=y,
        outwards=(mx / from_centre_px, my / from_centre_px) if from_centre_px > 0 else (1.0, 0.0),
        radius_px=optics.match_radius_px(diameter_px),
        radial_px=2 * sigma_px,
        diameter_px=diameter_px,
        attenuation=attenuation,
        p_visible=p_visible if inside else 0.0,
    )


def whereabouts(
    places: Sequence[Place], body: BodyOptics, lens: str | None, focal_mm: float | None
) -> tuple[float, float, float]:
    """Say where a lens shows a particle that was seen at *places*: map coordinates, and σ along the radius, px.

    Where this lens has shown it before, and where the others have, moved by the ratio of the scales, each weighed by
    what is known of it.
    """
    log_scale, sigma = body.scale(lens, focal_mm)
    direct = [place for place in places if lens is not None and (place.lens, place.focal_mm) == (lens, focal_mm)]
    x, y, variance = 0.0, 0.0, math.inf
    others = [place for place in places if place not in direct]
    if others:
        mx, my, own = reference_place(others, body)
        x, y = mx * math.exp(log_scale), my * math.exp(log_scale)
        variance = own + (x * x + y * y) * (sigma**2 + FOCUS_SPREAD**2)
    for place in direct:  # one at most
        here = PLACE_ERROR_PX**2 / place.count + (place.mx**2 + place.my**2) * FOCUS_SPREAD**2
        share = 1 / (1 + here / variance)
        x, y = x + share * (place.mx - x), y + share * (place.my - y)
        variance = share * here
    return x, y, math.sqrt(variance)


def reference_place(places: Sequence[Place], body: BodyOptics) -> tuple[float, float, float]:
    """Say where the reference lens would show a particle that was seen at *places*, and the variance of that, px²."""
    x = y = total = 0.0
    for place in places:
        log_scale, sigma = body.scale(place.lens, place.focal_mm)
        variance = PLACE_ERROR_PX**2 / place.count + (place.mx**2 + place.my**2) * (sigma**2)
        scale = math.exp(-log_scale)
        x, y, total = x + place.mx * scale / variance, y + place.my * scale / variance, total + 1 / variance
    return x / total, y / total, 1 / total
