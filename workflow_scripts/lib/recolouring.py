"""Batches of tiles recoloured with torch, on the device that trains or predicts: `stains.transform` in float32."""

from collections.abc import Sequence

import numpy as np
import torch

from workflow_scripts.lib import stains
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stains import Normalisation

# Pixels that are recoloured at once: on a CPU for its cache's sake (a tile of 512 px), on a GPU for its memory's.
AT_ONCE_ON_CPU, AT_ONCE_ON_GPU = 1 << 18, 1 << 23


class Recolouring:
    """The normalisations of some slides, None for one that is not normalised, prepared for batches of their tiles.

    Raises InputError where slides are normalised by different methods.
    """

    def __init__(self, normalisations: Sequence[Normalisation | None]) -> None:
        keeps = [one is None or one.keeps_colours for one in normalisations]
        moving = [one for one, kept in zip(normalisations, keeps, strict=True) if not kept]
        methods = sorted({one.method for one in moving})
        if len(methods) > 1:
            raise InputError(f"expected slides normalised by one method, found {' and '.join(methods)}")
        self._method = methods[0] if methods else None
        self._parameters = torch.zeros(len(normalisations), len(stains.parameters(moving[0])) if moving else 0)
        self._keeps = torch.tensor(keeps, dtype=torch.bool)
        if moving:
            found = np.stack([stains.parameters(one) for one in moving]).astype(np.float32)
            self._parameters[~self._keeps] = torch.from_numpy(found)

    def to(self, device: torch.device | str) -> "Recolouring":
        """Move what is known of the slides to the device that the batches are on; return this."""
        self._parameters, self._keeps = self._parameters.to(device), self._keeps.to(device)
        return self

    def __call__(self, images: torch.Tensor, slides: torch.Tensor | None = None) -> torch.Tensor:
        """Return tiles (n, 3, height, width) uint8 recoloured: at most a grey level from `stains.recolour`.

        slides: (n,) int64, the place of each tile's slide among the normalisations; None where all are of the first.
        """
        if self._method is None:
            return images
        if slides is None:
            slides = torch.zeros(len(images), dtype=torch.int64)
        slides = slides.to(images.device)
        of_tiles, keeps = self._parameters[slides][:, :, None, None], self._keeps[slides][:, None, None, None]
        found = torch.empty_like(images)
        at_once = AT_ONCE_ON_CPU if images.device.type == "cpu" else AT_ONCE_ON_GPU
        step = max(1, at_once // (images.shape[2] * images.shape[3]))
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            channels = [channel.float() for channel in images[part].unbind(1)]
            moved = stains.transform(torch, channels, of_tiles[part].unbind(1), method=self._method)
            for axis, channel in enumerate(moved):
                found[part, axis] = channel
        return torch.where(keeps, images, found)
