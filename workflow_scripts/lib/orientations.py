"""The eight ways in which a square can be turned, by number: a patch before it is encoded, and a layout of patches."""

import torch

from workflow_scripts.lib.augmentations import TURNS

ORIENTATIONS = 2 ** len(TURNS)


def turned(squares: torch.Tensor, orientation: int) -> torch.Tensor:
    """Squares or layouts (..., height, width), turned in the way of a number from 0 to 7; 0 leaves them as they are.

    Its binary digits, the lowest first, say for each of `augmentations.TURNS` whether it is done, in their order: 1 is
    a horizontal flip, 2 a vertical one, 4 a transposition, 7 all three.
    """
    horizontal, vertical, transposed = (bool(orientation >> digit & 1) for digit in range(len(TURNS)))
    flipped = squares.flip([-1] * horizontal + [-2] * vertical) if horizontal or vertical else squares
    return flipped.transpose(-2, -1) if transposed else flipped
