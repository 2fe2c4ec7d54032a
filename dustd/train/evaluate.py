"""`dustd evaluate`: judge a trained detector on whole frames, calibrate it, and pack it as `models/<id>/`.

Three kinds of frames: held-out photographs without dust (false positives per megapixel, which is what sensitivity
means), the same with synthetic dust (recall), and real dusty frames with labels (recall nobody tuned for).
"""

import argparse
import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from tqdm import tqdm

from dustd.detect import detect
from dustd.encoding import CHANNELS, ENCODING
from dustd.frame import Camera, Frame
from dustd.model import RfDetrDetector, load_detector
from dustd.network import TILE_PX, Architecture, is_proposal_part
from dustd.spot import Detection
from dustd.train.backgrounds import SRGB_TO_LINEAR, is_validation, photo_paths
from dustd.train.froc import Judged, Truth, judge, recall, threshold_for
from dustd.train.synth import PATCH_PX, draw_shadows

CALIBRATED_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
MAX_SPOT_PX = 80
SEED = 77


def main(argv: list[str]) -> int:
    """Run `dustd evaluate`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dustd evaluate", description="Judge, calibrate and pack a detector.")
    parser.add_argument("--photos", type=Path, required=True, help="the folder that training used; held-out ones count")
    parser.add_argument(
        "--dusty", type=Path, help="folder with real dusty frames and dust_labels.csv (never trained on)"
    )
    parser.add_argument("--model", default="default", help="id or folder of the model to judge")
    parser.add_argument("--pack", type=Path, metavar="RUN", help="first pack RUN/best.pt into the --model folder")
    parser.add_argument("--frames", type=int, default=12, help="held-out photographs to judge, at most")
    arguments = parser.parse_args(argv)
    if arguments.pack:
        pack(arguments.pack, Path(arguments.model))
    detector = load_detector(arguments.model)
    paths = [p for p in photo_paths(arguments.photos) if is_validation(p)][: arguments.frames]
    clean, dusty = judge_photos(detector, paths)
    scores = calibrate(clean)
    figures = {
        "held_out_photographs": len(paths),
        "dust_free_megapixels": round(sum(j.megapixels for j in clean), 1),
        "recall_by_fp_per_mp": {
            rate: round(recall(dusty, threshold_for(clean, rate)), 3) for rate in (0.05, 0.1, 0.5, 2)
        },
        "synthetic_spots": int(sum(j.counts.sum() for j in dusty)),
    }
    if arguments.dusty:
        figures["real_frames"] = judge_real(detector, arguments.dusty)
    print(yaml.safe_dump({"false_positive_scores": scores, "figures": figures}, sort_keys=False))
    if arguments.pack:
        write_card(arguments.pack, Path(arguments.model), scores, figures)
    return 0


def pack(run: Path, folder: Path) -> None:
    """Write the run's best averaged weights into a model folder as float16, with a card still to be calibrated."""
    folder.mkdir(parents=True, exist_ok=True)
    best = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
    weights = {k: v.half() for k, v in best["ema"].items() if is_proposal_part(k)}
    torch.save(weights, folder / "weights.pt")
    write_card(run, folder, dict.fromkeys(CALIBRATED_RATES, 0.5), {})


def write_card(run: Path, folder: Path, scores: dict[float, float], figures: dict[str, Any]) -> None:
    """Write `model.yaml`: identity, shape, provenance, calibration, measured figures."""
    state = torch.load(run / "best.pt", map_location="cpu", weights_only=True)["state"]
    shape = Architecture()
    card = {
        "id": folder.name,
        "preview": True,
        "weights": "weights.pt",
        "sha256": hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
        "encoding": ENCODING,
        "tile_px": TILE_PX,
        "max_spot_px": MAX_SPOT_PX,
        "architecture": {
            "encoder_layers": shape.encoder_layers,
            "out_feature_indexes": list(shape.out_feature_indexes),
            "decoder_layers": shape.decoder_layers,
            "queries": shape.queries,
            "query_groups": shape.query_groups,
            "channels": CHANNELS,
        },
        "output": "proposals",
        "training": {
            "from": "random weights",
            "data": "synthetic dust over photographs and procedural fields, drawn on the fly (dustd.train)",
            "spots_seen": state["spots"],
            "steps": state["step"],
            "hours": round(state["elapsed_s"] / 3600, 2),
            "device": "cpu, 2 cores shared with other work",
            "best_mean_froc_on_validation_crops": round(state["best"], 4),
        },
        "calibration": {
            "measured_on": "held-out photographs without dust, whole frames",
            "threshold_by_fp_per_mp": scores,
        },
        "figures": figures,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


def calibrate(clean: Sequence[Judged]) -> dict[float, float]:
    """Give the score threshold for each rate of false positives per megapixel.

    Rates too low for the megapixels at hand continue the line of logit score over log rate, fitted to the measured
    ones; that is an extrapolation and only as good as the line is straight.
    """
    megapixels = sum(j.megapixels for j in clean)
    measured = {r: threshold_for(clean, r) for r in CALIBRATED_RATES if r * megapixels >= 3}
    usable = {r: t for r, t in measured.items() if 0 < t < 1}
    if len(usable) < 2:
        return {r: round(measured.get(r, 0.5), 4) for r in CALIBRATED_RATES}
    xs = [math.log(r) for r in usable]
    ys = [math.log(t / (1 - t)) for t in usable.values()]
    slope = min(float(np.polyfit(xs, ys, 1)[0]), -0.1)
    lowest = min(usable)
    anchor = math.log(usable[lowest] / (1 - usable[lowest]))
    scores = {}
    for rate in CALIBRATED_RATES:
        if rate in usable:
            scores[rate] = round(usable[rate], 4)
        elif rate < lowest:
            scores[rate] = round(1 / (1 + math.exp(-(anchor + slope * (math.log(rate) - math.log(lowest))))), 4)
        else:
            scores[rate] = round(min(usable.values()), 4)
    return scores


def judge_photos(detector: RfDetrDetector, paths: Sequence[Path]) -> tuple[list[Judged], list[Judged]]:
    """Run the detector over each photograph as it is and once more with 25 synthetic shadows in it."""
    clean, dusty = [], []
    generator = torch.Generator().manual_seed(SEED)
    for path in tqdm(paths, desc="held-out photographs", unit="frame"):
        frame = photo_frame(path)
        megapixels = frame.width * frame.height / 1e6
        clean.append(judge(detect(frame, detector).detections, [], megapixels))
        with_dust, truths = add_dust(frame, 25, generator)
        found = detect(with_dust, detector).detections
        dusty.append(judge(found, truths, megapixels))
    return clean, dusty


def photo_frame(path: Path) -> Frame:
    """Read a photograph as a linear frame, 16 bits."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
    light = SRGB_TO_LINEAR[picture]
    return Frame(
        raw=(light * 65535).round().astype(np.uint16),
        visible=(0, 0, *picture.shape[:2]),
        kind="linear",
        cfa=((1,),),
        black=np.zeros(3, np.float32),
        white=65535,
        wb=(1.0, 1.0, 1.0),
        xyz_to_camera=None,
        camera=Camera(),
    )


def add_dust(frame: Frame, count: int, generator: torch.Generator) -> tuple[Frame, list[Truth]]:
    """Multiply *count* shadows into a copy of *frame*; those under 1 % or in the dark count neither way."""
    raw = frame.raw.astype(np.float32)
    truths = []
    half = PATCH_PX // 2
    for shadow in draw_shadows(count, generator).numpy():
        x = int(torch.randint(half, frame.width - half, (), generator=generator))
        y = int(torch.randint(half, frame.height - half, (), generator=generator))
        part = raw[y - half : y + half, x - half : x + half]
        around = part.mean()
        texture = float(np.std(cv2.GaussianBlur(part[..., 1], (0, 0), 2.0)) / max(around, 1.0))
        part *= 1 - shadow.transpose(1, 2, 0)
        area = float((shadow[1] > 0.5 * shadow[1].max()).sum())
        depth = float(shadow[1].max())
        ignore = depth < 0.01 or around < 300 or depth < 0.5 * texture
        truths.append(Truth(x=x, y=y, diameter_px=2 * math.sqrt(area / math.pi), attenuation=depth, ignore=ignore))
    return replace(frame, raw=raw.clip(0, 65535).round().astype(np.uint16)), truths


def judge_real(detector: RfDetrDetector, folder: Path) -> dict[str, Any]:
    """Recall on labelled real frames at 0.5, 1, 2 and 4 false positives per megapixel of the same frame."""
    labels: dict[str, list[Truth]] = {}
    with (folder / "dust_labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            side = max(float(row["x1"]) - float(row["x0"]), float(row["y1"]) - float(row["y0"]))
            labels.setdefault(row["file"], []).append(
                Truth(
                    x=float(row["x"]), y=float(row["y"]), diameter_px=max(side, 16.0), attenuation=float(row["depth"])
                )
            )
    figures = {}
    for name, truths in labels.items():
        frame = photo_frame(folder / name)
        found: Sequence[Detection] = detect(frame, detector).detections
        judged = judge(found, truths, frame.width * frame.height / 1e6)
        figures[name] = {
            "labels": len(truths),
            "megapixels": round(judged.megapixels, 2),
            "recall_by_fp_per_mp": {r: round(recall([judged], threshold_for([judged], r)), 3) for r in (0.5, 1, 2, 4)},
        }
    return figures
