"""The words of docs/performance.md: its sections, in order, and what each table is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of the page.

    name: of its plot's file. text: before its tables; after: below them; paragraphs are set apart by an empty line.
    subjects: its tables by their names, with their headings. reference: the contender that others of a table are
    compared with; the first, where a table has none of that name.
    """

    name: str
    title: str
    text: str
    subjects: dict[str, str]
    reference: str = ""
    after: str = ""


SECTIONS = (
    Section(
        "tiling",
        "From a slide to its tiles",
        """
        A region of a TCGA slide (12,288 × 12,288 px at 0.2525 µm/px, JPEG tiles of 240 px) is cut into tiles of
        512 px at 0.5 µm/px, which lie on the disk in the end. Each contender is a process of its own that may
        use both cores; its work is the tiles that it stores.

        They do not do quite the same. **Ours** checks the file for damage, finds tissue, measures ink, dark
        area and sharpness of each tile, and writes one HDF5 file (JPEG, quality 90, 4:4:4) with a thumbnail, on
        one lattice anchored at the slide's corner. **hs2p** finds tissue on a small level, lays a grid over
        each contour, so that tiles of two runs do not line up, and writes a TAR of JPEGs by two workers; half
        of a tile has to be tissue, as with ours, and its pictures of masks and tiles are off. **histolab** lays
        a grid over each region of tissue, resamples by large_image, looks for tissue in each tile again, and
        writes JPEG files of Pillow's default quality, in one process. The **OpenSlide loop** is what everybody
        writes first: every square of the lattice by `read_region` at level 0, Pillow's bicubic filter, and a
        JPEG file (quality 90, 4:4:4). It looks for no tissue and stores blank tiles too, so it does less for
        each, and the blank ones are cheap.
        """,
        {
            "tiling": "From the first import to the last byte",
            "tiling_without_imports": "The same runs without imports",
            "tiling_bound": "Beside decoding the same source tiles, and nothing else",
            "tiling_memory": "Memory by the size of the slide",
        },
        reference="hs2p, two workers",
    ),
    Section(
        "stains",
        "Stain normalisation",
        """
        Eight tiles of 512 px are made to look like a ninth. Imports do not count on either side. *Fitted to
        each tile* is what staintools does. *Fitted to the slide* is what the workflow does: stains are found
        once, from pixels of tissue all over the slide, and a table of colours serves all of its tiles; finding
        them is counted here, over eight tiles, and a slide has thousands.
        """,
        {"stains_macenko": "Macenko", "stains_vahadane": "Vahadane"},
        reference="staintools",
    ),
    Section(
        "store",
        "The tile store",
        """
        Real tiles, never encoded before but as the slide has them, are encoded, written and read back in random
        order. Speeds are of the processor's time of one thread on files in memory, so that others who compute
        do not count; error is the mean absolute difference in grey levels.
        """,
        {
            "store_encodings": "Encodings",
            "store_predictions": "What they change in predictions",
            "store_layouts": "Layouts in HDF5",
        },
    ),
    Section(
        "startup",
        "Start-up",
        """
        What each script imports before its work begins: the time that all modules take which Python alone does
        not load (`python -X importtime`, median, files in memory). Only scripts that train or predict import
        torch, and the doctor, which counts GPUs; only those that draw import matplotlib. Tests hold them to
        that. A package is large where its import takes a tenth of a second or more.
        """,
        {"startup": ""},
    ),
)
