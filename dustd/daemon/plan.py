"""What the daemon watches, and how: made of the settings, and carried out by the loop."""

from dataclasses import dataclass
from pathlib import Path

from dustd import files
from dustd.config import Config
from dustd.daemon.folder_queue import Timing
from dustd.daemon.watch import WatchedFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The folders, and when their frames' turn comes; *paused*: a person said that none is to be taken up."""

    folders: tuple[WatchedFolder, ...]
    timing: Timing
    paused: bool = False


def plan_of(settings: Config) -> Plan:
    """Say what to watch, and how."""
    watch = settings.watch
    return Plan(
        folders=tuple(WatchedFolder(path=each.path, output=settings.output_folder(each)) for each in settings.folders),
        timing=Timing(
            quiet_s=watch.quiet_s,
            give_up_s=watch.give_up_s,
            rescan_s=watch.rescan_s,
            newest_first=watch.order == "newest",
        ),
    )


def out_folder(source: Path, folder: WatchedFolder) -> Path:
    """Say into which folder the outputs of a frame in a watched folder go."""
    return files.output_folder_for(source, folder.path, folder.output)
