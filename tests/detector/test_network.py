"""The network is the library's: what we compose of its parts says what it says, for tiles and for crops of tiles."""

import re
from dataclasses import asdict

import pytest
import torch

from dustd.detector.network import (
    ARCHITECTURES,
    TILE_PX,
    Architecture,
    build,
    configs,
    decode,
    features,
    is_part,
    lay_out,
    proposals,
    queries,
    quiet_library,
    set_crop,
)

TINY = Architecture(encoder_layers=1, out_feature_indexes=(1,), decoder_layers=2, queries=20, query_groups=2)


@pytest.fixture(scope="module")
def network():
    """A small network, its weights moved off the zeros that the library starts with."""
    torch.manual_seed(3)
    model = build(TINY).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def image(count: int, side_px: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, TINY.channels, side_px, side_px, generator=torch.Generator().manual_seed(seed))


def outputs(answer: dict) -> list[torch.Tensor]:
    layers = [answer, *answer["aux_outputs"], answer["enc_outputs"]]
    return [layer[name] for layer in layers for name in ("pred_logits", "pred_boxes")]


@pytest.mark.parametrize("training", [False, True])
def test_our_composition_of_the_decoder_answers_as_the_librarys_own_forward(network, training):
    from rfdetr.utilities.tensors import nested_tensor_from_tensor_list

    set_crop(network, TILE_PX)
    tiles = image(1, TILE_PX)
    network.train(training)
    try:
        ours, theirs = decode(network, features(network, tiles)), network(nested_tensor_from_tensor_list(tiles))
    finally:
        network.eval()
    for one, other in zip(outputs(ours), outputs(theirs), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_proposals_are_where_the_library_puts_them(network):
    set_crop(network, TILE_PX)
    tiles = image(1, TILE_PX)
    seen = features(network, tiles)
    logits, boxes = proposals(network, tiles)
    first = decode(network, seen)["enc_outputs"]
    # The library ranks by the better of its two classes; look its boxes up among ours.
    for box in first["pred_boxes"][0] * TILE_PX:
        assert float((boxes[0] - box).abs().amax(1).min()) < 0.01
    assert logits.shape == (1, 1024)


def test_four_crops_answer_as_one_tile(network):
    set_crop(network, 256)
    crops = image(4, 256)
    seen = features(network, crops)
    logits, _ = queries(network, crops)
    assert logits.shape == (1, TINY.queries)
    sheet = lay_out(seen)
    assert torch.equal(sheet[0, :, :16, 16:], seen[1])
    assert torch.equal(sheet[0, :, 16:, :16], seen[2])
    # Every query starts from a proposal of one of the crops, moved to the crop's place in the tile.
    corners = torch.tensor([[0.0, 0, 0, 0], [256, 0, 0, 0], [0, 256, 0, 0], [256, 256, 0, 0]])
    single = (proposals(network, crops)[1] + corners[:, None]).flatten(0, 1)
    for box in decode(network, seen)["enc_outputs"]["pred_boxes"][0] * TILE_PX:
        assert float((single - box).abs().amax(1).min()) < 0.01


def test_crops_that_make_no_whole_tile_are_refused(network):
    with pytest.raises(ValueError, match="whole tiles"):
        lay_out(torch.zeros(3, 4, 16, 16))
    with pytest.raises(ValueError, match="whole tiles"):
        lay_out(torch.zeros(4, 4, 12, 12))


def test_a_crop_sees_a_random_window_of_the_position_table_in_training_only(network):
    set_crop(network, 128)
    crop = image(1, 128)
    assert torch.equal(features(network, crop), features(network, crop))
    network.train()
    try:
        assert not torch.equal(features(network, crop), features(network, crop))
    finally:
        network.eval()


def test_only_training_needs_the_further_query_groups(network):
    names = [name for name, _ in network.named_parameters()]
    needed = {output: {n for n in names if is_part(n, output)} for output in ("proposals", "queries")}
    assert needed["proposals"] < needed["queries"]
    further = {n for n in names if re.match(r"transformer\.enc_out\w*\.1\.", n)}
    assert set(names) - needed["queries"] == further


def test_dust_medium_is_rf_detr_medium():
    with quiet_library():
        from rfdetr.config import RFDETRMediumConfig

        medium = RFDETRMediumConfig(num_classes=1, pretrain_weights=None, device="cpu")
    ours, _ = configs(ARCHITECTURES["dust-medium"])
    ignored = {"resolution", "positional_encoding_size", "pretrain_weights", "device", "num_classes"}
    for name, value in medium.model_dump().items():
        if name not in ignored:
            assert getattr(ours, name) == value, name
    millions = sum(p.numel() for p in build(ARCHITECTURES["dust-medium"]).parameters()) / 1e6
    assert 31 < millions < 36


def test_an_architecture_survives_being_written_down():
    for shape in ARCHITECTURES.values():
        assert Architecture(**asdict(shape)) == shape
