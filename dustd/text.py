"""How things are put into words everywhere: names from strangers' files, spans of time."""


def printable(text: str) -> str:
    """Replace what is not printable, such as the escape sequences of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def duration(seconds: float) -> str:
    """Say how long: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
