"""Procedural photographs for the virtual body: what a studio or a landscape photographer has in front of the lens.

Every scene is light, not a picture of light: (height, width, 3) float32, linear sRGB primaries, D65, 1.0 = the
sensor's clipping point. Lengths are in shares of the frame height, so that a scene looks the same at every size.
Broad smooth areas are where dust shows; birds, lettering, buttons and lenticels are real and must survive.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Scene = Callable[[np.random.Generator, int, int], np.ndarray]


def sky_over_hills(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Clear graduated sky, hazy ridges, a wooded slope in front, a few birds."""
    y, x = _grid(height, width)
    horizon = rng.uniform(0.62, 0.74)
    evening = rng.random() < 0.5
    zenith, low = ((0.13, 0.19, 0.37), (0.80, 0.50, 0.32)) if evening else ((0.14, 0.29, 0.60), (0.60, 0.71, 0.80))
    image = _mix(zenith, low, np.clip(y / horizon, 0, 1) ** 1.6)
    sun = rng.uniform(0, width / height)
    image *= 1 + 0.25 * np.exp(-((x - sun) ** 2 + (y - horizon) ** 2) / 0.35)[..., None]
    for depth in (0.86, 0.66, 0.40, 0.0):
        crest = horizon + 0.11 * (1 - depth) + 0.05 * _line(rng, width, 0.5 - 0.25 * depth, height)
        crest += (1 - depth) * 0.004 * _line(rng, width, 0.012, height)
        wood = np.exp(
            (0.5 - 0.46 * depth) * (_noise(rng, height, width, 0.012) + 0.5 * _noise(rng, height, width, 0.2))
        )[..., None]
        colour = np.array((0.045, 0.055, 0.025), np.float32) * wood
        image = _over(
            image, colour * (1 - depth) + depth * np.array(low, np.float32) * 0.8, _soft((crest - y) * height)
        )
    for _ in range(rng.integers(2, 6)):
        _bird(image, rng, (rng.uniform(0.1, 0.9) * width, rng.uniform(0.08, 0.45) * height), height)
    return image


def clouds_over_sea(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Fair-weather clouds in perspective above a rippled sea, dark rocks at one side."""
    y, x = _grid(height, width)
    horizon = rng.uniform(0.66, 0.76)
    image = _mix((0.12, 0.25, 0.55), (0.58, 0.69, 0.78), np.clip(y / horizon, 0, 1) ** 1.4)
    centred = x - 0.5 * width / height
    above = np.maximum(horizon - y, 0.004)
    texture = _tile(rng, 1024, 0.3)
    thick = _sample(texture, centred / (above + 0.12) * 0.45, 0.5 / (above + 0.12))
    sunward = _sample(texture, centred / (above + 0.12) * 0.45 + 0.03, 0.5 / (above + 0.12) - 0.03)
    cover = _step(thick, 0.1, 1.3) * np.clip(above / 0.12, 0, 1)
    shade = np.clip(0.62 + 0.16 * (thick - sunward) - 0.07 * thick, 0.3, 0.85)
    image = _over(image, shade[..., None] * np.array((1.0, 1.0, 1.02), np.float32), cover)
    below = np.maximum(y - horizon, 1e-3)
    waves = _sample(_tile(rng, 1024, 0.05), centred / below * 0.05, 0.35 / below)
    waves *= np.clip(below / 0.02, 0, 1)
    sea = (
        _mix((0.36, 0.45, 0.50), (0.05, 0.10, 0.13), np.clip(below / 0.3, 0, 1) ** 0.6)
        * np.exp(0.28 * waves)[..., None]
    )
    image = _over(image, sea, _soft((horizon - y) * height))
    shore = 0.97 - 0.5 * np.clip(0.38 - np.abs(x - rng.choice([0.05, width / height - 0.05])), 0, 1) ** 1.2
    rock_line = shore + 0.022 * _noise(rng, height, width, 0.12, octaves=6)
    rock = (
        np.array((0.05, 0.045, 0.04), np.float32) * np.exp(0.7 * _noise(rng, height, width, 0.03, octaves=6))[..., None]
    )
    image = _over(image, rock, _soft((rock_line - y) * height))
    for _ in range(rng.integers(3, 8)):
        _bird(image, rng, (rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.6) * height), height)
    return image


def bottle_on_seamless(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A product in front of a paper sweep with light fall-off: glass, label with lettering, contact shadow."""
    y, x = _grid(height, width)
    paper = np.array(
        [(0.55, 0.55, 0.56), (0.22, 0.25, 0.29), (0.55, 0.44, 0.36), (0.30, 0.38, 0.36)][rng.integers(4)], np.float32
    )
    middle = width / height * rng.uniform(0.42, 0.58)
    glow = np.exp(-((x - middle - 0.15) ** 2 + 1.4 * (y - 0.38) ** 2) / 0.55)
    sweep = 0.10 * np.exp(-(((y - 0.80) / 0.06) ** 2))
    image = paper * (0.42 + 0.75 * glow - sweep)[..., None] * (1 + 0.004 * _noise(rng, height, width, 0.002))[..., None]
    foot, top, radius = 0.86, rng.uniform(0.20, 0.28), rng.uniform(0.10, 0.14)
    shadow = np.exp(-(((x - middle - 0.05) / (1.9 * radius)) ** 2 + ((y - foot) / 0.035) ** 2))
    image *= (1 - 0.65 * shadow)[..., None]
    level = (y - top) / (foot - top)
    body = radius * (1 - 0.68 * (1 - _step(level, 0.22, 0.42)))
    body = np.where(level < 0.13, radius * 0.40, body)
    across = np.clip((x - middle) / body, -1, 1)
    glass = np.array(
        [(0.10, 0.045, 0.012), (0.02, 0.06, 0.035), (0.5, 0.48, 0.45), (0.05, 0.06, 0.12)][rng.integers(4)], np.float32
    )
    lit = 0.35 + 0.65 * np.sqrt(1 - across**2) * (1 - 0.45 * across)
    surface = glass * lit[..., None]
    cap = np.array((0.03, 0.03, 0.032), np.float32) * (lit * (1 + 0.25 * np.sin(70 * np.arcsin(across))))[..., None]
    surface = np.where((level < 0.13)[..., None], cap, surface)
    label, ink = _label(rng, 700, 900), _step(level, 0.495, 0.497) * (1 - _step(level, 0.895, 0.897))
    printed = _sample_once(label, np.arcsin(across) / np.pi * 0.9 + 0.5, (level - 0.495) / 0.4)
    surface = _over(surface, np.array((0.68, 0.66, 0.60), np.float32) * (printed * lit)[..., None], ink)
    softbox = 0.55 * _step(-across, 0.42, 0.46) * (1 - _step(-across, 0.64, 0.68)) + 0.25 * _step(across, 0.82, 0.9)
    surface += (softbox * (1 - 0.75 * ink) * (1 - 0.4 * (level < 0.13)) * (0.4 + 0.6 * (1 - level)))[..., None]
    round_foot = foot + 0.012 * np.sqrt(1 - across**2) - 0.012
    inside = _soft((np.abs(x - middle) - body) * height) * _soft((y - round_foot) * height) * _soft((top - y) * height)
    return _over(image, surface, inside)


def shirt_with_buttons(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Woven cloth with soft folds, a stitched placket and sewn buttons: dust hides here, detail must stay."""
    y, x = _grid(height, width)
    warp = 0.004 * _noise(rng, height, width, 0.35, octaves=2)
    thread = 0.0042
    across, along = (x + 0.25 * y + warp) / thread, (y - 0.12 * x + warp) / thread
    weft_on_top = (np.floor(across) + np.floor(along)) % 3 == 0
    bulge = np.where(weft_on_top, along % 1, across % 1)
    slub = (1 + 0.06 * rng.standard_normal(4096)).astype(np.float32)[
        np.where(weft_on_top, along, across).astype(np.int32) % 4096
    ]
    dye = np.array(
        [(0.16, 0.22, 0.34), (0.55, 0.52, 0.47), (0.30, 0.12, 0.11), (0.20, 0.24, 0.18)][rng.integers(4)], np.float32
    )
    folds = 0.85 + 0.22 * _noise(rng, height, width, 0.45, octaves=2) + 0.2 * (0.7 - x / (width / height))
    weave = (
        (0.62 + 0.38 * np.sqrt(1 - (2 * bulge - 1) ** 2))
        * np.where(weft_on_top, np.float32(1), np.float32(0.82))
        * slub
    )
    image = dye * (weave * np.clip(folds, 0.25, 1.5))[..., None]
    seam = width / height * rng.uniform(0.35, 0.65) + 0.01 * np.sin(4 * y[:, :1])
    image *= (1 - 0.45 * np.exp(-(((x - seam - 0.11) / 0.004) ** 2)))[..., None]
    for offset in (-0.1, 0.1):
        stitch = np.exp(-(((x - seam - offset) / 0.0018) ** 2)) * ((y / 0.016) % 1 < 0.72)
        image = _over(image, dye * 1.7, np.clip(stitch, 0, 1) * 0.8)
    for row in np.arange(rng.uniform(0.05, 0.2), 1, 0.3):
        column = float(seam[int(row * height), 0])
        window = (
            slice(max(int((row - 0.06) * height), 0), int((row + 0.06) * height)),
            slice(int((column - 0.06) * height), int((column + 0.06) * height)),
        )
        image[window] = _button(image[window], x[window] - column, y[window] - row, height)
    return image


def printed_page(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Heavy paper with lettering under raking light, flecks in the paper, falling out of focus."""
    y, x = _grid(height, width)
    sheet: np.ndarray = np.full((height, width), 255, np.uint8)
    size = height / 1000
    words = (
        "catalogue",
        "autumn",
        "linen",
        "No. 27",
        "atelier",
        "proof",
        "25 g",
        "handmade",
        "sensor",
        "paper",
        "8 / 11",
    )
    for line in np.arange(0.16, 0.95, 0.075):
        at = 0.30 * height
        while at < width - 0.35 * height:
            word = str(rng.choice(words))
            place = (int(at), int(line * height))
            cv2.putText(
                sheet, word, place, cv2.FONT_HERSHEY_COMPLEX, 1.1 * size, 30, max(1, round(2 * size)), cv2.LINE_AA
            )
            at += (len(word) + 1.4) * 21 * size
            if rng.random() < 0.22:
                break
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-9, 9), 1.0)
    sheet = cv2.warpAffine(sheet, turn, (width, height), flags=cv2.INTER_AREA, borderValue=255)
    for _ in range(60):
        across, down = rng.uniform(0, 1, 2) * (width, height)
        cv2.circle(
            sheet,
            (int(across), int(down)),
            int(rng.uniform(0.6, 1.6) * size),
            int(rng.uniform(110, 215)),
            -1,
            cv2.LINE_AA,
        )
    ink = sheet.astype(np.float32) / 255
    soft = cv2.GaussianBlur(ink, (0, 0), 0.006 * height)
    ink = ink + (soft - ink) * _step(np.abs(y - 0.55), 0.22, 0.45)
    tooth = (
        1 + 0.018 * _noise(rng, height, width, 0.004, octaves=3) + 0.015 * _noise(rng, height, width, 0.3, octaves=2)
    )
    light = 0.80 - 0.28 * x / (width / height) - 0.10 * (y - 0.5) ** 2
    return np.array((0.92, 0.88, 0.80), np.float32) * (light * tooth * (0.06 + 0.94 * ink))[..., None]


def pear_before_bokeh(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A speckled pear on a wooden table before a garden far out of focus, with discs of light."""
    y, x = _grid(height, width)
    image: np.ndarray = (
        np.array((0.10, 0.16, 0.06), np.float32) * np.exp(0.7 * _noise(rng, height, width, 0.4, octaves=3))[..., None]
    )
    for _ in range(45):
        _bokeh_disc(image, rng, height)
    image = cv2.GaussianBlur(image, (0, 0), 0.004 * height)
    edge = rng.uniform(0.74, 0.80)
    rings = 7 * np.sqrt(np.abs(y - edge) + 0.02) * 12 + 0.6 * x + 0.5 * _noise(rng, height, width, 0.5, octaves=2)
    grain = np.sin(rings * 2 * np.pi) + 0.7 * _sample(_tile(rng, 512, 0.5), 0.15 * x, (y - edge) / (0.1 + y) * 6)
    wood = np.array((0.24, 0.13, 0.065), np.float32) * np.exp(0.13 * grain - 0.5 * (y - edge))[..., None]
    middle, foot, size = width / height * rng.uniform(0.3, 0.7), edge + 0.11, rng.uniform(0.17, 0.21)
    wood *= (1 - 0.75 * np.exp(-(((x - middle - 0.06) / (1.3 * size)) ** 2 + ((y - foot) / 0.04) ** 2)))[..., None]
    image = _over(image, wood, _soft((edge - y) * height / 6))
    rise = (foot - y) / (2.9 * size)
    half = size * np.sqrt(np.clip(4 * rise * (1 - rise), 0, 1)) * (1 - 0.48 * _step(rise, 0.35, 0.95))
    across = np.clip((x - middle) / np.maximum(half, 1e-4), -1, 1)
    lit = 0.12 + 0.88 * np.clip(np.sqrt(1 - across**2) * 0.8 - 0.5 * across + 0.25 * (rise - 0.4), 0, 1)
    dots = _noise(rng, height, width, 0.006, octaves=1)
    skin = _mix((0.42, 0.46, 0.10), (0.50, 0.30, 0.08), _step(_noise(rng, height, width, 0.15), 0.2, 1.5))
    skin *= (lit * (1 - 0.35 * _step(dots, 1.7, 2.1)))[..., None]
    skin += 0.35 * np.exp(-(((across + 0.42) / 0.12) ** 2 + ((rise - 0.42) / 0.08) ** 2))[..., None]
    image = _over(image, skin, _soft((np.abs(x - middle) - half) * height) * (rise > 0) * (rise < 1))
    stalk = _soft((np.abs(x - middle - 0.25 * (foot - 2.9 * size - y)) - 0.006) * height)
    stalk *= _soft((y - foot + 2.86 * size) * height) * _soft((foot - 3.25 * size - y) * height)
    return _over(image, np.array((0.06, 0.035, 0.015), np.float32) * np.ones_like(image), stalk)


SESSION: tuple[Scene, ...] = (
    sky_over_hills,
    bottle_on_seamless,
    clouds_over_sea,
    pear_before_bokeh,
    bottle_on_seamless,
    sky_over_hills,
    shirt_with_buttons,
    clouds_over_sea,
    printed_page,
    sky_over_hills,
    bottle_on_seamless,
    clouds_over_sea,
)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column positions in frame heights, each (height, width) float32."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    return y, x


def _noise(rng: np.random.Generator, height: int, width: int, largest: float, octaves: int = 4) -> np.ndarray:
    """Sum octaves of smooth noise, 1/f, unit deviation; *largest* feature in frame heights."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = largest * height / 2**octave
        if cell < 1 and octave:
            break
        rows, cols = int(height / max(cell, 1)) + 3, int(width / max(cell, 1)) + 3
        coarse = rng.standard_normal((rows, cols)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return total / total.std()


def _line(rng: np.random.Generator, width: int, largest: float, height: int) -> np.ndarray:
    """Draw a 1-D noise profile over the frame's width, (width,), unit deviation."""
    total = np.zeros((1, width), np.float32)
    for octave in range(6):
        cells = max(round(width / (largest * height) * 2**octave), 1) + 3
        if cells > width:
            break
        total += (
            cv2.resize(rng.standard_normal((1, cells)).astype(np.float32), (width, 1), interpolation=cv2.INTER_CUBIC)
            * 0.5**octave
        )
    return total[0] / max(float(total.std()), 1e-6)


def _tile(rng: np.random.Generator, size: int, largest: float) -> np.ndarray:
    """Make a (size, size) texture that repeats without a seam: 1/f^1.4 noise, *largest* feature in tile sizes."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    texture = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((size, size))) / np.maximum(f, 1 / largest) ** 1.4, s=(size, size)
    )
    return ((texture - texture.mean()) / texture.std()).astype(np.float32)


def _mix(first: Sequence[float], second: Sequence[float], share: np.ndarray) -> np.ndarray:
    """Blend two colours by *share* (height, width)."""
    one, other = np.array(first, np.float32), np.array(second, np.float32)
    return one + (other - one) * share[..., None]


def _over(image: np.ndarray, layer: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Lay *layer* over *image* where *cover* is 1."""
    return image + (layer - image) * cover[..., None].astype(np.float32)


def _soft(outside_px: np.ndarray) -> np.ndarray:
    """Cover of a shape from the signed distance to its edge in px (negative inside), anti-aliased."""
    return np.clip(0.5 - outside_px, 0, 1)


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rise smoothly from 0 at *low* to 1 at *high*."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _sample(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Look a repeating texture up at (u, v), 1 = its whole size."""
    rows, cols = texture.shape
    return cv2.remap(texture, (u * cols) % cols, (v * rows) % rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _label(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Print a product label: (height, width) float32, 1 = bare paper."""
    label = np.full((height, width), 255, np.uint8)
    name = str(rng.choice(["OLIO", "AMBRE", "NERO", "TONIC", "SALVIA", "MIRTO"]))
    cv2.rectangle(label, (30, 30), (width - 30, height - 30), 60, 4, cv2.LINE_AA)
    for row, (text, scale, weight) in enumerate(((name, 4.2, 9), ("small batch", 1.6, 3), ("No. 27 - 250 ml", 1.3, 2))):
        (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, weight)
        place = ((width - text_width) // 2, 270 + 130 * row)
        cv2.putText(label, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, 25, weight, cv2.LINE_AA)
    for bar in range(60):
        cv2.line(
            label, (width // 2 - 120 + 4 * bar, 590), (width // 2 - 120 + 4 * bar, 640), int(rng.choice([20, 255])), 3
        )
    return label.astype(np.float32) / 255


def _sample_once(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Look a picture up at (u, v) in 0..1, its edge continued outside; averaged so that small print stays smooth."""
    rows, cols = picture.shape
    return cv2.remap(
        picture,
        (u * cols).astype(np.float32),
        (v * rows).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _button(image: np.ndarray, dx: np.ndarray, dy: np.ndarray, height: int) -> np.ndarray:
    """Sew a four-hole button on where (dx, dy) is (0, 0)."""
    radius = 0.032
    r = np.hypot(dx, dy)
    image = image * (1 - 0.55 * np.exp(-((np.hypot(dx - 0.008, dy - 0.01) / radius) ** 6)))[..., None]
    rim = np.exp(-(((r - 0.84 * radius) / (0.13 * radius)) ** 2))
    tilt = (-0.6 * dx - 0.8 * dy) / radius
    face = 0.40 + 0.10 * tilt + 0.16 * rim * tilt - 0.10 * np.exp(-(((r - 0.66 * radius) / (0.07 * radius)) ** 2))
    face = face * (
        1
        - 0.85
        * sum(_soft((np.hypot(dx - i, dy - j) - 0.0042) * height) for i in (-0.009, 0.009) for j in (-0.009, 0.009))
    )
    for sign in (-1, 1):
        sewn = _soft((np.abs(dx - sign * dy) / np.sqrt(2) - 0.0018) * height) * _soft((r - 0.0128) * height)
        face = face + (0.30 - face) * sewn
    return _over(image, np.array((1.0, 0.96, 0.88), np.float32) * face[..., None], _soft((r - radius) * height))


def _bird(image: np.ndarray, rng: np.random.Generator, place: tuple[float, float], height: int) -> None:
    """Paint a distant bird into *image*: two curved wings, sharp, dark."""
    span = rng.uniform(0.006, 0.016) * height
    cover = np.zeros((int(3 * span) + 4, int(3 * span) + 4), np.uint8)
    wing = np.linspace(-1, 1, 15)
    lift = -np.sqrt(np.abs(wing)) * rng.uniform(0.5, 1.0) + 0.5 * np.abs(wing) ** 2
    points = np.stack((wing * span, lift * span), axis=1) + len(cover) / 2
    cv2.polylines(
        cover, [np.round(points * 16).astype(np.int32)], False, 255, max(1, round(span / 6)), cv2.LINE_AA, shift=4
    )
    top, left = int(place[1]), int(place[0])
    window = image[top : top + len(cover), left : left + len(cover)]
    window[:] = _over(
        window,
        np.array((0.03, 0.03, 0.035), np.float32) * np.ones_like(window),
        cover[: window.shape[0], : window.shape[1]] / 255,
    )


def _bokeh_disc(image: np.ndarray, rng: np.random.Generator, height: int) -> None:
    """Add a lamp or a leaf's glint far out of focus to *image*: an even disc with a brighter rim."""
    radius = rng.uniform(0.03, 0.07) * height
    colour = np.array(
        [(0.30, 0.26, 0.10), (0.10, 0.20, 0.05), (0.34, 0.30, 0.22), (0.16, 0.22, 0.20)][rng.integers(4)], np.float32
    )
    x, y = rng.uniform(0, image.shape[1]), rng.uniform(-0.05, 0.75) * height
    left, top = max(int(x - radius - 2), 0), max(int(y - radius - 2), 0)
    window = image[top : max(int(y + radius + 3), 0), left : int(x + radius + 3)]
    rows, cols = np.mgrid[top : top + window.shape[0], left : left + window.shape[1]].astype(np.float32)
    r = np.hypot(rows - y, cols - x)
    window += colour * (rng.uniform(0.15, 1.0) * _soft(r - radius) * (0.8 + 0.25 * (r / radius) ** 6))[..., None]
