"""Names bodies and models: the key of a dust map, and the spelling by which Adobe finds a camera's profiles."""

import re

# The key of frames whose file names no camera at all: they share no sensor, so no map.
NO_BODY = "unknown"
# Words of a make that say nothing about the camera.
_COMPANY = {"ag", "camera", "co", "company", "corp", "corporation", "gmbh", "imaging", "inc", "ltd", "optical"}
# Serial numbers that are none: all zeros, all F or X (erased memory), a word, too short to tell anything.
_NO_SERIAL = re.compile(r"0*|f+|x+|none|null|unknown|undefined|.{1,2}", re.IGNORECASE)


def body_id(make: str | None, model: str | None, serial: str | None) -> str:
    """Name a body for its dust map: "Canon EOS R6 #93022004357", or "… (no serial)".

    Leading zeros of the number are dropped, because some tags lose them; company words of the make and a make that
    the model repeats are left out. Expects printable text; gives no path separators and at most 140 characters.
    """
    name = full_model(make, model)
    if name is None and serial is None:
        return NO_BODY
    numbered = f" #{_bare(serial)[:64]}" if serial else " (no serial)"
    return re.sub(r"[/\\:]", "-", (name or "unknown")[:70].strip() + numbered)


def is_serial(serial: str) -> bool:
    """Say whether *serial* can tell two bodies apart: not blank, not all zeros, not a placeholder."""
    letters = re.sub(r"[^0-9A-Za-z]", "", serial)
    return bool(_bare(serial)) and _NO_SERIAL.fullmatch(letters) is None


def full_model(make: str | None, model: str | None) -> str | None:
    """Join make and model, without company words and without saying the make twice."""
    if not make or not model:
        return model or make
    words = make.split()
    if model.split()[0].casefold() in (word.casefold() for word in words):
        return model
    return " ".join([*(word for word in words if word.strip(".,").casefold() not in _COMPANY), model])


def adobe_model(make: str | None, model: str | None) -> str | None:
    """Spell the model as Adobe does: the maker's name capitalised and said once, Canon's " DIGITAL" dropped."""
    name = full_model(make, model)
    if name is None:
        return None
    first, _, rest = name.partition(" ")
    if first.isupper() and first.casefold() in (make or "").casefold():
        first = first.capitalize()
    return f"{first} {rest}".strip().removesuffix(" DIGITAL")


def _bare(serial: str) -> str:
    """Drop a "No=" in front and leading zeros, so that every tag's spelling of one number is the same."""
    return re.sub(r"(?i)^no\s*[=:.]\s*", "", serial).lstrip("0 ")
