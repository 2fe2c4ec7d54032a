"""Small things about text for people, used everywhere: what may be shown of a name."""


def printable(text: str) -> str:
    """Replace what is not printable, such as the escape sequences of terminals."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
