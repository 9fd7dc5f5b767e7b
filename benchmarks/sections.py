"""The words of docs/performance.md: its sections, in order, and what each table is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of the page.

    name: of its plot's file; a table that is called so, or so and more after a `_`, is the section's. subjects: further
    tables, and the headings of those that have one. text: before its tables; after: below them; paragraphs are set
    apart by an empty line. reference: the contender that others of a table are compared with; the first, where a table
    has none of that name.
    """

    name: str
    title: str
    text: str
    subjects: dict[str, str]
    reference: str = ""
    after: str = ""

    def has(self, subject: str) -> bool:
        """Whether a table is the section's."""
        return subject == self.name or subject.startswith(f"{self.name}_")

    def heading(self, subject: str) -> str:
        """What a table is called on the page; nothing for one that needs no name beside its section's."""
        rest = subject.removeprefix(self.name).replace("_", " ").strip()
        return self.subjects.get(subject, rest and rest[0].upper() + rest[1:])


INTRODUCTION = """
How fast each part is, beside its limit and beside what people use today. `make bench` measures all of it anew on two
cores, which takes about an hour, and `make bench BENCH=tiling` one subject. What ours is compared with is installed
from `envs/peers.txt` into an environment of its own. Some of the input is real slides, which are not in the repository;
where they are absent, a subject says so and is left out.

Contenders take turns, in another order each round, because other work on a machine makes a clock unreliable and leaves
the ratio of neighbours in time mostly alone. Seconds and speed are medians of the warm rounds, with the slowest and the
fastest of them as a range. **Cold** is the round before: a slide is dropped from the machine's memory for it, and what
runs in one process allocates its memory in it. A **ratio** is taken within each round, and its median and range are
given. Memory is the peak of a process and its children, 10⁶ bytes to the MB.
"""

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
            "tiling_process": "The same with imports, in processes of their own",
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
        after="""
        **The default stays: JPEG of quality 90 with full chroma (4:4:4), an entry of its own length for each tile,
        chunks of 64.** Lossless tiles take two and a half to four and a half times the space, and the smallest of
        them, WebP, is encoded sixty times as slowly at 512 px. 4:2:0 saves an eighth to a fifth of the space at equal
        quality. At equal size its error in grey levels is that of 4:4:4, but it moves probabilities a third
        more: what it loses is colour, which models and stains go by. Quality 90 changes a tile's probability by 0.0055
        in the mean and 0.06 at most, and one tile in two hundred changes sides. Quality 95 takes a third more space and
        brings the mean to 0.0033; of 1,024 readings eight change sides then, and five at quality 90, which is too few
        to tell them apart. The models were trained on tiles of quality 90. The size of chunks of entries does not
        matter.

        To read one tile of an HDF5 file costs a small part of its decoding at 512 px, and a third at 112 px; read in
        batches, a tenth at 112 px. One contiguous array with offsets would be read about five times as fast as
        entries, and makes stores 4 % smaller at 112 px, but its length has to be known before the first tile is written
        (or tiles be copied once). To read in batches gets most of that without another file format.
        """,
    ),
    Section(
        "training",
        "Training",
        """
        Steps of training from tile stores (tiles read in random order, decoded, augmented) beside the same steps on
        batches that lie in memory already. A table is named by network, side of a tile in px, and threads of torch.
        """,
        {},
    ),
    Section(
        "prediction",
        "Prediction",
        """
        Models applied to a slide's store beside the same models on its tiles in memory; tables are named as those of
        training. What ten models in one pass save is what nine decodings cost: there, processor time counts, and the
        models are next to nothing.
        """,
        {"prediction_passes": "Ten models in one pass", "prediction_memory": "Memory by the number of tiles"},
    ),
    Section(
        "compression",
        "Compression",
        """
        A slide's patches of 64 px encoded from its store and written as a grid, beside the same encoder on the same
        patches in memory. The encoder is that of several tasks, with random weights. Memory is of a process of its
        own, in which patches have 32 px.
        """,
        {
            "compression_1": "One thread",
            "compression_2": "Two threads",
            "compression_2_orientations": "Two threads, eight orientations",
            "compression_memory": "Memory by the size of the slide, eight orientations",
        },
    ),
    Section(
        "photographs",
        "Photographs",
        """
        Photographs of a microscope classified by an exported model, MobileNetV2 on patches of 512 px at 1.333 µm/px
        with random weights, in one thread: the exported network in its own runtime beside the same in torch; and all
        that the command does with photographs of six megapixels (read, cut, judge, encode, apply) beside the exported
        network on as many patches in memory.
        """,
        {
            "photographs_network": "The exported network",
            "photographs_folder": "Photographs of a folder",
        },
    ),
    Section(
        "planning",
        "Planning",
        """
        A dry run of the published study of breast cancer, its ten traits and five rounds, by the number of slides:
        before anything is made, when the cohort is assembled, and when all is there and nothing is to be done.
        """,
        {},
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
        {},
    ),
)
