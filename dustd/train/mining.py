"""Hard-negative mining while training goes on: places in photographs that fool the network are drawn more often.

Every photograph is divided into cells. After each step the trainer notes, for each crop, how sure the network was of
dust where there is none; half of the crops are then drawn where that figure is high. The figures live in shared
memory, so that the data workers see them at once (facts: detector-training §4.5).
"""

import torch
from torch import Tensor

CELL_PX = 256
# Enough for 8,000 megapixels of photographs; more share cells, which costs only precision.
CELLS = 1 << 17
# A cell not yet visited is taken for moderately hard, so that all are visited.
UNSEEN = 0.1
MEMORY = 0.6


def new_hardness() -> Tensor:
    """Make the shared table of hardness per cell, (CELLS,) float32."""
    return torch.full((CELLS,), UNSEEN).share_memory_()


def note(hardness: Tensor, cells: Tensor, logits: Tensor, labels: Tensor) -> None:
    """Update *hardness* in place from one batch.

    *cells* (B,) long, -1 for a crop that came from no photograph; *logits* (B, n) of the tokens; *labels* (B, n),
    0 where there is no dust. Squared scores: a sure mistake counts for many doubtful ones.
    """
    worst = logits.detach().float().sigmoid().masked_fill(labels != 0, 0.0).amax(1).square().cpu()
    known = cells >= 0
    where = cells[known]
    hardness[where] = MEMORY * hardness[where] + (1 - MEMORY) * worst[known]
