"""The log of a training run as CSV, and its picture."""

import csv
import math
from pathlib import Path

LOSSES = ("focal", "giou", "l1", "class", "box", "overlap")


def log_row(path: Path, row: dict[str, float]) -> None:
    """Append one evaluation to the run's CSV; a column that the file does not have yet is added to it."""
    rows = read_log(path) if path.exists() else []
    columns = list(dict.fromkeys([name for earlier in rows for name in earlier] + list(row)))
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows([*rows, row])
    temporary.replace(path)


def read_log(path: Path) -> list[dict[str, str]]:
    """Read the rows of a log; what a row does not have is an empty string."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, restval=""))


def draw_curves(folder: Path) -> None:
    """Draw losses and validation recall over the spots seen, from log.csv into curves.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(folder / "log.csv")

    def column(name: str) -> list[float]:
        return [float(row.get(name) or math.nan) for row in rows]

    spots = column("spots")
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, recalls = figure.subplots(1, 2)
    for name in rows[0]:
        if name in LOSSES:
            losses.plot(spots, column(name), label=name)
        elif name.endswith(("mean_froc", "recall_0.1", "recall_0.5", "recall_2")):
            recalls.plot(spots, column(name), label=name)
    recalls.fill_between(spots, column("mean_froc_low"), column("mean_froc_high"), alpha=0.2, linewidth=0)
    losses.set(title="training loss", xlabel="spots seen")
    recalls.set(title="validation crops", xlabel="spots seen", ylim=(0, 1))
    losses.legend()
    recalls.legend()
    figure.savefig(folder / "curves.png", dpi=110)
