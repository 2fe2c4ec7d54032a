"""Small things about text for people, used everywhere: what may be shown of a name, how a number of things is said."""


def printable(text: str) -> str:
    """Replace what is not printable, such as the escape sequences of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Say a number of things: "1 frame", "3 frames"; *many* where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def spots_changed(more: int, fewer: int) -> str:
    """Say how many spots are corrected more, and fewer: "3 more spots, 1 spot fewer"."""
    told = [f"{more} more {'spot' if more == 1 else 'spots'}"] if more else []
    return ", ".join(told + ([f"{counted(fewer, 'spot')} fewer"] if fewer else [])) or "nothing changes"


def status_word(status: str) -> str:
    """Say a frame's status to a person: where nothing was corrected, the sidecar says "clean", people read
    "unchanged".
    """
    return "unchanged" if status == "clean" else status
