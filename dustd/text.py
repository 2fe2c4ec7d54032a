"""Small things about text for people, used everywhere: what may be shown of a name, how a number of things is said."""


def printable(text: str) -> str:
    """Replace what is not printable, such as the escape sequences of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Say a number of things: "1 frame", "3 frames"; *many* where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"
