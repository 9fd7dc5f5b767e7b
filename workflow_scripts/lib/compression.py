"""Slides compressed into grids by an encoder: each tile is decoded once, for all orientations of its patches."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.lib import encoders, feeding, grids, inference, models, tile_sources, tiles
from workflow_scripts.lib.encoders import Encoder
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.grids import Band, Shape
from workflow_scripts.lib.orientations import turned
from workflow_scripts.lib.recolouring import Recolouring
from workflow_scripts.lib.tile_sources import TileSource

log = logging.getLogger(__name__)

# Seconds between two lines of progress within a slide: a large one takes an hour on a CPU.
REPORT_EVERY_S = 60.0


def compress_slides(
    path_to_grids: str | Path,
    sources: Sequence[TileSource],
    slide_ids: Sequence[str],
    *,
    encoder_folder: str | Path,
    orientations: int,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
) -> None:
    """Write the grids of a chunk of slides (see `grids`), each in one pass over its store.

    sources and slide_ids: of each slide; encoder_folder: of a trained encoder (`encoders.load`); orientations: how many
    of the eight, from the first; stain: the reference that the slides are normalised to, or None; batch_size: patches
    that are encoded at once. A tile that is larger than a patch is cut into as many as fill it. A slide without tiles
    has no grid. Paper: neural image compression, 1 and Fig. 1.

    Memory is bounded by a few batches, and by a band of a grid's rows, whatever the slide's size.

    Raises InputError when the encoder was trained on patches of another size or µm/px, or in other colours; and when a
    patch's numbers are not finite, or larger than 16 bits hold.
    """
    device = inference.choose_device(threads)
    encoder = encoders.load(encoder_folder)
    encoder.network.to(device)
    compressed = compress_each(
        zip(slide_ids, sources, strict=True), encoder, orientations=orientations, stain=stain, batch_size=batch_size,
        threads=threads, device=device,
    )  # fmt: skip
    with grids.writing_grids(path_to_grids) as file:
        for number, (slide, bands) in enumerate(compressed, start=1):
            if len(slide.positions):
                shape = Shape(orientations, encoder.features, *slide.size)
                grids.write_slide(file, slide.slide_id, bands, shape=shape, attributes=slide.attributes)
            log.info("%d of %d slides: %s compressed", number, len(slide_ids), slide.slide_id)


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide to be compressed.

    positions and coords: the places of its tiles in the store, and column and row of each (n, 2), row by row; cut:
    patches along a side of a tile; size: rows and columns of its grid; attributes: what `grids` keeps of it.
    """

    slide_id: str
    source: TileSource
    positions: np.ndarray
    coords: np.ndarray
    cut: int
    size: tuple[int, int]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, slide_id: str, source: TileSource, encoder: Encoder, stain: Mapping[str, Any] | None) -> "Slide":
        """Look into a store. Raises InputError where its tiles are none for the encoder."""
        patch_px = encoder.patch_px
        with tiles.open_store(source.store) as store:
            found = store.attributes
            # A tile of several whole patches will do; any other is refused.
            taken = {} if found["tile_px"] % patch_px else {"tile_px": found["tile_px"]}
            inference.check_fit(slide_id, store, {"encoder": encoder.description | taken}, stain)
            positions = np.flatnonzero(tile_sources.passing(source, store))
            coords = store.coords[positions]
        # Stores have their tiles row by row, and then this changes nothing.
        in_rows = np.argsort(coords[:, 1], kind="stable")
        cut = found["tile_px"] // patch_px
        attributes = {name: found[name] for name in ("tile_px", "mpp", "slide_mpp")}
        attributes |= {"patch_px": patch_px, "patch_level0_px": patch_px * found["mpp"] / found["slide_mpp"]}
        size = (found["rows"] * cut, found["columns"] * cut)
        return cls(slide_id, source, positions[in_rows], coords[in_rows], cut, size, attributes)

    def starts(self, batch_size: int) -> range:
        """The first tile of each batch of about `batch_size` patches; without tiles there is one batch, of none."""
        return range(0, max(len(self.positions), 1), max(1, batch_size // self.cut**2))

    def read(self, start: int, batch_size: int) -> np.ndarray:
        """The pixels of a batch of its tiles, (n, px, px, 3) uint8."""
        positions = self.positions[start : start + self.starts(batch_size).step]
        px = self.attributes["tile_px"]
        pixels = np.empty((len(positions), px, px, 3), np.uint8)
        with tiles.open_store(self.source.store) as store:
            store.read(positions, pixels)
        return pixels


def compress_each(
    sources: Iterable[tuple[str, TileSource]],
    encoder: Encoder,
    *,
    orientations: int,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
    device: torch.device,
) -> Iterator[tuple[Slide, Iterator[Band]]]:
    """Of each source, a slide id and its tiles, the slide and the bands of its grid, which are taken before the next.

    Tiles are decoded while the encoder computes, also of the next slide: by one thread beside a CPU that computes with
    its own, and by `threads` beside a GPU, which leaves them idle. Raises InputError as `compress_slides` does.
    """
    slides = (Slide.of(slide_id, source, encoder, stain) for slide_id, source in sources)
    parts = ((slide, start) for slide in slides for start in slide.starts(batch_size))
    batches = feeding.Ahead(
        lambda part: (*part, part[0].read(part[1], batch_size)), parts, threads=1 if device.type == "cpu" else threads
    )
    for slide, of_slide in groupby(batches, key=itemgetter(0)):
        yield slide, _bands(slide, of_slide, encoder, orientations, device)


def _bands(
    slide: Slide,
    batches: Iterable[tuple[Slide, int, np.ndarray]],
    encoder: Encoder,
    orientations: int,
    device: torch.device,
) -> Iterator[Band]:
    """The bands of a slide's grid, from the top down: each as soon as all tiles of its rows have passed."""
    recolouring = Recolouring([tile_sources.normalisation_of(slide.source)]).to(device)
    # Whole rows of tiles, since all patches of a tile come at once.
    rows = max(1, grids.BLOCK_ROWS // slide.cut) * slide.cut
    progress, band = _Progress(slide.slide_id, len(slide.positions) * slide.cut**2), None
    for _, start, pixels in batches:
        if not len(pixels):
            continue
        seen = recolouring(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
        codes = _encoded(seen, slide.cut, encoder, orientations)
        if not np.isfinite(codes).all():
            raise InputError(
                f"{slide.slide_id}: expected an encoder whose numbers are finite and below {grids.LARGEST:,.0f}, found "
                "others; train the encoder again with a lower learning rate"
            )
        columns, tops = (slide.coords[start : start + len(pixels)] * slide.cut).T
        for top in np.unique(tops // rows * rows).tolist():
            if band is None or band.top != top:
                if band is not None:
                    yield band
                height = min(rows, slide.size[0] - top)
                values = np.zeros((orientations, encoder.features, height, slide.size[1]), np.float16)
                band = Band(top, values, np.zeros(values.shape[2:], bool))
            here = tops // rows * rows == top
            for down, across in np.ndindex(slide.cut, slide.cut):
                places = (tops[here] - top + down, columns[here] + across)
                band.values[:, :, *places] = codes[:, :, here, down, across]
                band.tissue[places] = True
        progress.add(len(pixels) * slide.cut**2)
    if band is not None:
        yield band
    progress.end()


def _patches(images: torch.Tensor, cut: int) -> torch.Tensor:
    """Tiles (n, 3, px, px) cut into patches (n · cut · cut, 3, px / cut, px / cut), of each tile row by row."""
    n, channels, _, side = images.shape
    apart = images.reshape(n, channels, cut, side // cut, cut, side // cut).permute(0, 2, 4, 1, 3, 5)
    return apart.reshape(n * cut * cut, channels, side // cut, side // cut)


@torch.inference_mode()
def _encoded(images: torch.Tensor, cut: int, encoder: Encoder, orientations: int) -> np.ndarray:
    """What the patches of tiles (n, 3, px, px) uint8 are in each orientation: (orientations, C, n, cut, cut) float16.

    The last two are the row and the column of a patch in its tile.
    """
    patches = _patches(images, cut)
    codes = [encoder.embed(models.to_input(turned(patches, way))).half() for way in range(orientations)]
    in_tiles = torch.stack(codes).reshape(orientations, len(images), cut, cut, -1)
    return in_tiles.permute(0, 4, 1, 2, 3).cpu().numpy()


@dataclass
class _Progress:
    """How many of a slide's patches are compressed, and how fast, for the log."""

    slide_id: str
    of: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def add(self, number: int) -> None:
        self.done += number
        if time.monotonic() - self.reported >= REPORT_EVERY_S:
            self.reported = time.monotonic()
            self.end()

    def end(self) -> None:
        speed = self.done / max(time.monotonic() - self.started, 1e-9)
        log.info("%s: %d of %d patches, %.0f patches/s", self.slide_id, self.done, self.of, speed)
