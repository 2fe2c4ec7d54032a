"""What travels of the maps to the tasks: little of all bodies for looking, one body's map for deciding."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from dustd.dustmap import pixels
from dustd.dustmap.lenses import BodyOptics
from dustd.dustmap.match import State
from dustd.dustmap.pixels import Pixels
from dustd.dustmap.places import Reading
from dustd.dustmap.rejection import Rejection
from dustd.dustmap.store import Store
from dustd.output.sidecar import Record
from dustd.pipeline.shoot import Place
from dustd.raw.frame import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The maps as they were at one moment: which pictures are on which (*sizes*, by body), what is known (*states*, by
    map), and what a person has rejected."""

    sizes: Mapping[str, Mapping[str, Pixels | None]]
    states: Mapping[str, State]
    verdicts: tuple[Rejection, ...] = ()

    @classmethod
    def for_looking(cls, store: Store, body_ids: Iterable[str]) -> Self:
        """Gather what looking asks of the maps of some bodies: how far their dust is from the sensor."""
        sizes = {body_id: store.sizes(body_id) for body_id in sorted(set(body_ids))}
        optics = {name: store.state(name).optics.blur_constant for names in sizes.values() for name in names}
        states = {name: State(optics=BodyOptics(blur_constant=each)) for name, each in optics.items()}
        return cls(sizes=sizes, states=states)

    @classmethod
    def for_deciding(cls, store: Store, place: Place) -> Self:
        """Gather all that is known of a body in the epoch in which *place* lies."""
        body_id = pixels.body_of(place.body_id)
        return cls(
            sizes={body_id: store.sizes(body_id)},
            states={place.body_id: store.state(place.body_id, place.at)},
            verdicts=store.rejections(place.body_id),
        )


class Maps:
    """Answers a task as `dustd.dustmap.store.Store` would, and remembers what it is *told*."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.told: list[Record] = []

    def map_for(self, camera: Camera, width: int, height: int) -> str:
        """Name the map on which a picture belongs."""
        known = self._known.sizes.get(pixels.body_of(camera.body_id), {})
        return pixels.map_for(camera.body_id, known, pixels.pixels_in(camera, width, height))

    def state(self, body_id: str, _at: str | Reading | None = None) -> State:
        """Give what is known of a body."""
        return self._known.states.get(body_id, State())

    def rejections(self, _body_id: str) -> tuple[Rejection, ...]:
        """Give what a person said is no dust."""
        return self._known.verdicts

    def is_cleaned(self, _body_id: str, _frame_id: str) -> bool:
        """Leave it to the client, which asks for every frame that was seen."""
        return False

    def knows(self, _body_id: str, _frame_id: str) -> bool:
        """Say yes: every frame is told to the maps before it is decided on."""
        return True

    def observe(self, record: Record) -> bool:
        """Remember what the client is to tell the maps."""
        self.told.append(record)
        return True
