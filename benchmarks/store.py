"""The tile store's choices: how tiles are encoded and how HDF5 holds them, and what lossy tiles do to predictions.

Three tables: `store_encodings` and `store_layouts` have a row per choice, with medians; `store_predictions` has a row
per choice of lossy encoding and model.
"""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks import harness
from workflow_scripts.lib import models, slides, tiles
from workflow_scripts.lib.files import read_table

SLIDE = "slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
COLON = "colon/slides"
ROUNDS = 3
# Tiles of a batch, and tiles that are read in a call.
BATCH, READS = 32, 96
# Tiles of a store whose layout is looked at; what is stored is repeated to as many.
STORED = 1024
SUBSAMPLING = {"4:4:4": 0, "4:2:0": 2}


@dataclass(frozen=True)
class Encoding:
    """How a tile becomes bytes, and bytes a tile; `filters` are HDF5's, of tiles that are stored as pixels."""

    encode: Callable[[np.ndarray], bytes] | None = None
    decode: Callable[[bytes], np.ndarray] = tiles.decode
    filters: dict[str, object] | None = None


def by_pillow(kind: str, **options: object) -> Callable[[np.ndarray], bytes]:
    """An encoder of a kind that Pillow knows, with its options."""

    def encode(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


def opened_by_pillow(encoded: bytes) -> np.ndarray:
    """The pixels of an image of any kind that Pillow knows."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image)


LOSSY = {
    f"JPEG {quality} {name}": Encoding(by_pillow("JPEG", quality=quality, subsampling=value))
    for quality in (80, 85, 90, 95)
    for name, value in SUBSAMPLING.items()
}
LOSSLESS = {
    "PNG": Encoding(by_pillow("PNG"), opened_by_pillow),
    "WebP lossless": Encoding(by_pillow("WEBP", lossless=True), opened_by_pillow),
    "blosc (zstd)": Encoding(
        lambda pixels: imagecodecs.blosc_encode(pixels, compressor="zstd", level=5, typesize=3, shuffle="byte"),
        lambda encoded: np.frombuffer(imagecodecs.blosc_decode(encoded), np.uint8),
    ),
    "pixels, gzip": Encoding(filters={"compression": "gzip"}),
    "pixels, lzf": Encoding(filters={"compression": "lzf"}),
    "pixels": Encoding(filters={}),
}


# Real tiles


def real_tiles(path: Path, *, tile_px: int, mpp: float) -> np.ndarray:
    """The tiles of a slide that hold tissue, as scanned and never encoded: (n, tile_px, tile_px, 3) uint8."""
    rule = tiles.BACKGROUND_RULES["saturation"]
    with slides.open_slide(path) as slide:
        facts = slides.inspect_open_slide(slide, target_mpp=mpp)
        lattice = tiles.lattice_of(
            width=facts.width, height=facts.height, slide_mpp=facts.mpp, tile_px=tile_px, mpp=mpp
        )
        found = []
        for row in range(lattice.rows):
            area = lattice.area_box(0, row, lattice.columns, row + 1)
            strip = np.asarray(slides.read_area(slide, area, (lattice.columns * tile_px, tile_px)))
            for tile in np.split(strip, lattice.columns, axis=1):
                if rule.keeps(rule.tissue(Image.fromarray(tile), mpp=mpp), max_background=0.5):
                    found.append(tile)
    return np.array(found, np.uint8).reshape(-1, tile_px, tile_px, 3)


# Encodings


def study_encodings(name: str, images: np.ndarray, folder: Path) -> pd.DataFrame:
    """Size, speed and error of each encoding of some tiles; `name` says whose they are."""
    chosen = LOSSY | LOSSLESS
    paths = {choice: folder / f"{number}.h5" for number, choice in enumerate(chosen)}
    wrote = harness.measure(
        f"writing {name}",
        {
            choice: harness.processor_time(lambda c=choice: write_tiles(paths[c], images, chosen[c]))
            for choice in chosen
        },
        work=len(images),
        unit="tiles",
        rounds=ROUNDS,
    )
    places = np.random.default_rng(0).integers(0, len(images), READS)
    read = harness.measure(
        f"reading {name}",
        {choice: harness.processor_time(lambda c=choice: read_tiles(paths[c], places, chosen[c])) for choice in chosen},
        work=READS,
        unit="tiles",
        rounds=ROUNDS,
    )
    return pd.DataFrame(
        {
            "tiles": name,
            "choice": list(chosen),
            "bytes_per_tile": [paths[choice].stat().st_size / len(images) for choice in chosen],
            "write_per_s": harness.speeds(wrote)["speed"],
            "read_per_s": harness.speeds(read)["speed"],
            "mean_error": [error(images, encoding) for encoding in chosen.values()],
        }
    )


def write_tiles(path: Path, images: np.ndarray, encoding: Encoding) -> None:
    """Encode tiles and write them, as a store has them or as pixels with a filter of HDF5."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        if encoding.encode is None:
            shape = {"chunks": (1, *images.shape[1:])} | encoding.filters
            stored = file.create_dataset("tiles", images.shape, np.uint8, **shape)
        else:
            vlen = h5py.vlen_dtype(np.uint8)
            stored = file.create_dataset("tiles", (len(images),), vlen, chunks=(tiles.CHUNK_TILES,), maxshape=(None,))
        for index, image in enumerate(images):
            stored[index] = image if encoding.encode is None else np.frombuffer(encoding.encode(image), np.uint8)


def read_tiles(path: Path, places: Sequence[int], encoding: Encoding) -> None:
    """Read tiles one by one, and decode them."""
    with h5py.File(path, "r", locking=False) as file:
        stored = file["tiles"]
        for place in places:
            found = stored[place]
            if encoding.encode is not None:
                encoding.decode(found.tobytes())


def error(images: np.ndarray, encoding: Encoding) -> float:
    """The mean absolute difference that an encoding makes, in grey levels."""
    if encoding.encode is None:
        return 0.0
    differences = [
        np.abs(encoding.decode(encoding.encode(image)).reshape(image.shape).astype(np.int16) - image).mean()
        for image in images
    ]
    return float(np.mean(differences))


# Layouts


def study_layouts(name: str, images: np.ndarray, folder: Path) -> pd.DataFrame:
    """Size and speed of the ways to hold the bytes of tiles in HDF5, without decoding."""
    encode = LOSSY["JPEG 90 4:4:4"].encode
    of_each = [np.frombuffer(encode(image), np.uint8) for image in images]
    encoded = [of_each[index % len(of_each)] for index in range(STORED)]
    layouts = {f"an entry a tile, chunks of {chunk}": (hold_entries, read_entries, chunk) for chunk in (1, 16, 64, 256)}
    layouts["one array and offsets, contiguous"] = (hold_flat, read_flat, None)
    layouts["one array and offsets, chunks of 1 MiB"] = (hold_flat, read_flat, 1 << 20)
    paths = {layout: folder / f"layout{number}.h5" for number, layout in enumerate(layouts)}
    draw = np.random.default_rng(0)
    single = draw.integers(0, STORED, READS * 4)
    batches = [np.sort(draw.choice(STORED, BATCH, replace=False)) for _ in range(READS * 4 // BATCH)]
    speeds = {}
    for what, work, action in (
        ("write", STORED, lambda layout: layouts[layout][0](paths[layout], encoded, layouts[layout][2])),
        ("read_one", len(single), lambda layout: layouts[layout][1](paths[layout], single)),
        ("read_batch", len(single), lambda layout: layouts[layout][1](paths[layout], batches)),
    ):
        table = harness.measure(
            f"{what} {name}",
            {layout: harness.processor_time(lambda one=layout, do=action: do(one)) for layout in layouts},
            work=work,
            unit="tiles",
            rounds=ROUNDS,
        )
        speeds[f"{what}_per_s"] = harness.speeds(table)["speed"]
    overhead = [paths[layout].stat().st_size / sum(map(len, encoded)) - 1 for layout in layouts]
    return pd.DataFrame({"tiles": name, "layout": list(layouts), "overhead": overhead} | speeds)


def hold_entries(path: Path, encoded: Sequence[np.ndarray], chunk: int) -> None:
    """Write an entry of its own length for each tile."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        shape = {"chunks": (chunk,), "maxshape": (None,)}
        stored = file.create_dataset("tiles", (len(encoded),), h5py.vlen_dtype(np.uint8), **shape)
        for index, tile in enumerate(encoded):
            stored[index] = tile


def read_entries(path: Path, places: Sequence[int] | Sequence[np.ndarray]) -> None:
    """Read tiles at some places, one or a batch at a time."""
    with h5py.File(path, "r", locking=False) as file:
        stored = file["tiles"]
        for place in places:
            stored[place]


def hold_flat(path: Path, encoded: Sequence[np.ndarray], chunk: int | None) -> None:
    """Write the bytes of all tiles one after another, and where each begins."""
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        offsets = np.concatenate([[0], np.cumsum([len(tile) for tile in encoded])])
        file["offsets"] = offsets
        stored = file.create_dataset("tiles", (offsets[-1],), np.uint8, chunks=chunk and (chunk,))
        for tile, start in zip(encoded, offsets, strict=False):
            stored[start : start + len(tile)] = tile


def read_flat(path: Path, places: Sequence[int] | Sequence[np.ndarray]) -> None:
    """Read tiles at some places; of a batch, one after another in their order."""
    with h5py.File(path, "r", locking=False) as file:
        stored, offsets = file["tiles"], file["offsets"][:]
        for place in np.concatenate([np.atleast_1d(place) for place in places]):
            stored[offsets[place] : offsets[place + 1]]


# Predictions


def study_predictions(cohort: Path, paths_to_slides: Sequence[Path]) -> pd.DataFrame:
    """What each lossy encoding changes in a cohort's predictions of some slides, against tiles that are not encoded.

    Of each choice and each trait's first model: mean and largest absolute change of a tile's probability and of a
    slide's share of positive tiles, and the share of tiles that change sides.
    """
    # Threads that wait for each other take a core from whoever else computes.
    torch.set_num_threads(1)
    members = read_table(cohort / "ensembles.tsv").query("rank == 1")
    names = [f"{row.trait}/round_{row.round}" for row in members.itertuples()]
    trained = {name: models.load(cohort / "training" / name) for name in names}
    described = trained[names[0]].description
    of_slides = [real_tiles(path, tile_px=described["tile_px"], mpp=described["mpp"]) for path in paths_to_slides]
    of_slides = [images for images in of_slides if len(images)]
    bounds = np.cumsum([len(images) for images in of_slides])[:-1]
    images = np.concatenate(of_slides)
    reference = predict(trained, images)
    rows = []
    for choice, encoding in LOSSY.items():
        coded = np.stack([encoding.decode(encoding.encode(image)) for image in images])
        found = predict(trained, coded)
        for name in names:
            threshold = trained[name].description["settings"].get("tile_threshold", 0.5)
            change = np.abs(found[name] - reference[name])
            positive, was = found[name] >= threshold, reference[name] >= threshold
            shares = [
                abs(float(new.mean() - old.mean()))
                for new, old in zip(np.split(positive, bounds), np.split(was, bounds), strict=True)
            ]
            row = (choice, name, change.mean(), change.max(), (positive != was).mean(), np.mean(shares), max(shares))
            rows.append((*row, len(images), len(of_slides)))
    columns = ["choice", "model", "p_mean", "p_max", "changed_sides", "share_mean", "share_max", "tiles", "slides"]
    return pd.DataFrame(rows, columns=columns)


@torch.inference_mode()
def predict(trained: dict[str, models.TrainedModel], images: np.ndarray) -> dict[str, np.ndarray]:
    """The probabilities (n,) of tiles (n, height, width, 3) by each model."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in trained}
    for batch in batches_of(images):
        seen = models.to_input(torch.from_numpy(batch).permute(0, 3, 1, 2))
        for name, model in trained.items():
            found[name].append(torch.sigmoid(model.network(seen)[:, 0]).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def batches_of(images: np.ndarray) -> Iterator[np.ndarray]:
    """Tiles, some at a time."""
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def main() -> None:
    """Measure, and write the three tables."""
    harness.on_two_cores()
    slide, colon = harness.real_input(SLIDE), harness.real_input(COLON)
    paths = sorted(colon.glob("*.svs"))
    large = real_tiles(slide, tile_px=512, mpp=0.5)[::2]
    small = np.concatenate([real_tiles(path, tile_px=112, mpp=1.0) for path in paths[:10]])
    sets = {"512 px, breast": large, "112 px, colon": small}
    with tempfile.TemporaryDirectory() as name:
        encodings = [study_encodings(tiles_of, images, Path(name)) for tiles_of, images in sets.items()]
        harness.write("store_encodings", pd.concat(encodings))
        layouts = [study_layouts(tiles_of, images, Path(name)) for tiles_of, images in sets.items()]
        harness.write("store_layouts", pd.concat(layouts))
    cohort = harness.REPOSITORY / "results" / "colon"
    if not (cohort / "ensembles.tsv").exists():
        print(f"skipped: the effect on predictions needs the models of {cohort}; run studies/colon.yaml first")
        return
    splits = read_table(cohort / "splits.tsv", text=["patient_id"])
    held_out = set(splits.loc[splits["set"] == "test", "patient_id"])
    unseen = [path for path in paths if path.name[:12] in held_out]
    harness.write("store_predictions", study_predictions(cohort, unseen))


if __name__ == "__main__":
    main()
