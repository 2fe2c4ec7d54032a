"""The test set judged as a session has it, with the aperture known (`looking.look_as_in_use`)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dustd.train.froc import Judged, false_per_mp_above, judge, mean_froc, only, recall_above, recall_at
from dustd.train.judgement import (
    DEEP,
    DEEP_SMOOTH,
    NEAR_EDGE,
    WORKING_FALSE_PER_MP,
    Figures,
    counted,
    strata_masks,
    text,
)
from dustd.train.looking import Looked


def summarise(looked: Sequence[Looked], f_numbers: Sequence[float], threshold: float) -> Figures:
    """Put the figures of the test set with known apertures together (`looking.look_as_in_use`), *f_numbers* being the
    photographs' and *threshold* the score at the default sensitivity."""
    dusty = [judge(seen.dusty, [spot.truth() for spot in seen.spots], seen.megapixels) for seen in looked]
    clean = [judge(seen.clean, [], seen.megapixels) for seen in looked]
    masks = strata_masks(looked)

    def figures(judged: list[Judged]) -> Figures:
        return {
            "spots": counted(judged),
            "mean_froc": asdict(mean_froc(judged)),
            "recall": asdict(recall_at(judged, WORKING_FALSE_PER_MP)),
            "recall_at_default_sensitivity": asdict(recall_above(judged, threshold)),
        }

    return {
        "f_numbers": [round(number, 1) for number in f_numbers],
        "strata": {"all": figures(dusty)}
        | {
            name: figures([only(j, mask) for j, mask in zip(dusty, masks[name], strict=True)])
            for name in (DEEP_SMOOTH, NEAR_EDGE, DEEP)
        },
        "false_per_mp_without_dust": asdict(false_per_mp_above(clean, [threshold] * len(clean))),
    }


def lines(in_use: Mapping[str, Any]) -> list[str]:
    """Lay the figures out as Markdown."""
    false = in_use["false_per_mp_without_dust"]
    columns = ("recall", "mean_froc", "recall_at_default_sensitivity")
    return [
        "## With the aperture known",
        "",
        "The same photographs as a session has them: one lens for all dust of a photograph, the file naming aperture "
        f"and pitch (f/{min(in_use['f_numbers']):g} to f/{max(in_use['f_numbers']):g}), what no shadow can be there "
        f"left out. Without dust at the default sensitivity {text(false, 3)} false positives per megapixel.",
        "",
        f"| spots | count | recall at {WORKING_FALSE_PER_MP:g} false positives per megapixel | mean FROC | recall at "
        "the default sensitivity |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {stratum['spots']} | " + " | ".join(text(stratum[column]) for column in columns) + " |"
            for name, stratum in in_use["strata"].items()
        ),
        "",
    ]
