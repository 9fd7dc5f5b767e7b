"""Damage to a slide's file, seeded: what disks, networks and careless tools do to bytes, and what hostile hands do.

Every kind of damage takes the bytes of a healthy SVS, a map of where things lie in it, and a generator of random
numbers, and returns the bytes of a damaged file.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tifffile

# TIFF's numbers for what is damaged here.
WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 259, 262, 270
TILE_WIDTH, TILE_HEIGHT, OFFSETS, COUNTS = 322, 323, 324, 325


@dataclass(frozen=True)
class Tag:
    """Where an entry of a directory lies: its 12 bytes, and its value (in the entry or elsewhere)."""

    entry: int
    value: int
    length: int


@dataclass(frozen=True)
class Level:
    """A level's directory: its start in the file, its tags by number, and each tile's (offset, byte count)."""

    directory: int
    tags: dict[int, Tag]
    tiles: list[tuple[int, int]]


def levels_of(content: bytes) -> list[Level]:
    """Return the levels of a healthy classic TIFF file, finest first."""
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        return [
            Level(
                page.offset,
                {tag.code: Tag(tag.offset, tag.valueoffset, tag.valuebytecount) for tag in page.tags},
                list(zip(page.dataoffsets, page.databytecounts, strict=True)),
            )
            for page in tiff.pages
            if page.is_tiled
        ]


def overwritten(content: bytes, start: int, new: bytes) -> bytes:
    """Return the bytes with those from `start` replaced."""
    return content[:start] + new + content[start + len(new) :]


Damage = Callable[[bytes, list[Level], np.random.Generator], bytes]
KINDS: dict[str, Damage] = {}
# Of those, the ones that may leave a valid slide which shows something else: no reader can know.
SILENT: set[str] = set()


def kind(damage: Damage) -> Damage:
    KINDS[damage.__name__] = damage
    return damage


def silent(damage: Damage) -> Damage:
    SILENT.add(damage.__name__)
    return kind(damage)


def damaged(content: bytes, kind_of_damage: str, seed: int) -> bytes:
    """Return the bytes of a healthy slide damaged in one way; the same seed gives the same damage."""
    random = np.random.default_rng([seed, *kind_of_damage.encode()])
    return KINDS[kind_of_damage](content, levels_of(content), random)


def _tile(levels: list[Level], random: np.random.Generator) -> tuple[int, int]:
    """Return where a tile of level 0 lies."""
    return levels[0].tiles[random.integers(len(levels[0].tiles))]


# A tile's own bytes


@silent
def a_bit_of_a_tile_flipped(content, levels, random):
    start, length = _tile(levels, random)
    place = start + int(random.integers(length // 4, length - 2))
    return overwritten(content, place, bytes([content[place] ^ (1 << int(random.integers(8)))]))


@silent
def some_bytes_of_a_tile_overwritten(content, levels, random):
    start, length = _tile(levels, random)
    new = random.bytes(int(random.integers(4, 65)))
    return overwritten(content, start + int(random.integers(length // 4, length - 66)), new)


@kind
def a_sector_overwritten(content, levels, random):
    start, length = _tile(levels, random)
    return overwritten(content, (start + length // 2) // 512 * 512, random.bytes(512))


@kind
def a_sector_zeroed(content, levels, random):
    start, length = _tile(levels, random)
    return overwritten(content, (start + length // 2) // 512 * 512, bytes(512))


@kind
def a_tile_zeroed(content, levels, random):
    start, length = _tile(levels, random)
    return overwritten(content, start, bytes(length))


@kind
def a_long_range_zeroed(content, levels, random):
    start = int(random.integers(len(content) // 2))
    return overwritten(content, start, bytes(int(random.integers(4096, len(content) // 4))))


@kind
def the_end_of_a_tile_zeroed(content, levels, random):
    start, length = _tile(levels, random)
    lost = int(random.integers(8, length // 2))
    return overwritten(content, start + length - lost, bytes(lost))


@kind
def the_head_of_a_tile_overwritten(content, levels, random):
    start, _ = _tile(levels, random)
    return overwritten(content, start + int(random.integers(24)), random.bytes(4))


@silent
def a_byte_of_a_tiles_head_changed(content, levels, random):
    start, _ = _tile(levels, random)
    return overwritten(content, start + int(random.integers(40)), random.bytes(1))


@silent
def a_quantisation_table_of_a_tile_overwritten(content, levels, random):
    start, length = _tile(levels, random)
    table = content.index(b"\xff\xdb", start, start + length) + 5
    return overwritten(content, table + int(random.integers(60)), random.bytes(4))


@kind
def a_huffman_table_of_a_tile_overwritten(content, levels, random):
    start, length = _tile(levels, random)
    table = content.index(b"\xff\xc4", start, start + length) + 5
    return overwritten(content, table + int(random.integers(20)), random.bytes(4))


@kind
def a_tile_that_says_it_is_huge(content, levels, random):
    start, length = _tile(levels, random)
    frame = content.index(b"\xff\xc0", start, start + length)
    changed = overwritten(content, frame + 1, bytes([int(random.choice([0xC0, 0xC1, 0xC2]))]))
    return overwritten(changed, frame + 5, struct.pack(">HH", 65500, 65500))


@silent
def bytes_lost_within_a_tile(content, levels, random):
    start, length = _tile(levels, random)
    lost = int(random.integers(1, 200))
    return overwritten(content, start + length // 3, content[start + length // 3 + lost : start + length] + bytes(lost))


@kind
def the_end_of_file_marker_of_a_tile_lost(content, levels, random):
    start, length = _tile(levels, random)
    return overwritten(content, start + length - 2, bytes(2))


# The file's length


@kind
def cut_short(content, levels, random):
    return content[: int(len(content) * random.uniform(0.02, 0.999))]


@kind
def the_end_zeroed(content, levels, random):
    start = int(len(content) * random.uniform(0.1, 0.99))
    return content[:start] + bytes(len(content) - start)


@kind
def bytes_inserted(content, levels, random):
    place = int(random.integers(len(content)))
    return content[:place] + random.bytes(int(random.integers(1, 1000))) + content[place:]


@kind
def bytes_lost(content, levels, random):
    place = int(random.integers(len(content)))
    return content[:place] + content[place + int(random.integers(1, 1000)) :]


@kind
def bytes_overwritten_anywhere(content, levels, random):
    for _ in range(8):
        content = overwritten(content, int(random.integers(len(content) - 300)), random.bytes(256))
    return content


# The directory


@kind
def the_tiff_header_overwritten(content, levels, random):
    return overwritten(content, int(random.integers(8)), random.bytes(2))


@kind
def directory_bytes_overwritten(content, levels, random):
    level = levels[random.integers(len(levels))]
    return overwritten(content, level.directory + int(random.integers(12 * len(level.tags))), random.bytes(4))


@kind
def a_tag_of_level_0_overwritten(content, levels, random):
    tag = list(levels[0].tags.values())[random.integers(len(levels[0].tags))]
    return overwritten(content, tag.entry + int(random.integers(12)), random.bytes(1))


@kind
def two_tags_swapped(content, levels, random):
    level = levels[random.integers(len(levels))]
    one, other = random.choice(sorted(level.tags), 2, replace=False)
    one, other = level.tags[one].entry + 2, level.tags[other].entry + 2
    return overwritten(overwritten(content, one, content[other : other + 10]), other, content[one : one + 10])


@kind
def width_and_height_swapped(content, levels, random):
    width, height = levels[0].tags[WIDTH], levels[0].tags[HEIGHT]
    changed = overwritten(content, width.value, content[height.value : height.value + height.length])
    return overwritten(changed, height.value, content[width.value : width.value + width.length])


def _number(content: bytes, tag: Tag, value: int) -> bytes:
    """Store a number as the one value of a tag, a long whatever it was."""
    return overwritten(content, tag.entry + 2, struct.pack("<HII", 4, 1, value))


@kind
def an_absurd_width(content, levels, random):
    return _number(content, levels[0].tags[WIDTH], int(random.integers(2**24, 2**32)))


@kind
def an_absurd_height(content, levels, random):
    return _number(content, levels[0].tags[HEIGHT], int(random.integers(2**24, 2**32)))


@kind
def an_absurd_size(content, levels, random):
    changed = _number(content, levels[0].tags[WIDTH], int(random.integers(2**20, 2**31)))
    return _number(changed, levels[0].tags[HEIGHT], int(random.integers(2**20, 2**31)))


@kind
def an_absurd_size_of_a_coarse_level(content, levels, random):
    changed = _number(content, levels[-1].tags[WIDTH], int(random.integers(2**20, 2**31)))
    return _number(changed, levels[-1].tags[HEIGHT], int(random.integers(2**20, 2**31)))


@kind
def another_size(content, levels, random):
    return _number(content, levels[0].tags[random.choice([WIDTH, HEIGHT])], int(random.integers(1, 5000)))


@kind
def a_size_of_zero(content, levels, random):
    return _number(content, levels[0].tags[random.choice([WIDTH, HEIGHT])], 0)


@kind
def a_tile_size_of_zero(content, levels, random):
    return _number(content, levels[0].tags[random.choice([TILE_WIDTH, TILE_HEIGHT])], 0)


@kind
def another_tile_size(content, levels, random):
    return _number(content, levels[0].tags[random.choice([TILE_WIDTH, TILE_HEIGHT])], 16 * int(random.integers(1, 60)))


@kind
def an_absurd_tile_size(content, levels, random):
    changed = _number(content, levels[0].tags[TILE_WIDTH], 16 * int(random.integers(2**12, 2**24)))
    return _number(changed, levels[0].tags[TILE_HEIGHT], 16 * int(random.integers(2**12, 2**24)))


@kind
def another_compression(content, levels, random):
    code = int(random.choice([1, 5, 6, 8, 32773, 33003, 33005, 34712, 50000, 9]))
    return _number(content, levels[0].tags[COMPRESSION], code)


@kind
def another_colour_model(content, levels, random):
    return _number(content, levels[0].tags[PHOTOMETRIC], int(random.choice([0, 1, 3, 5, 8])))


# Where the tiles lie


@kind
def an_offset_overwritten(content, levels, random):
    place = levels[0].tags[OFFSETS].value + 4 * int(random.integers(len(levels[0].tiles)))
    return overwritten(content, place, struct.pack("<I", int(random.integers(2 * len(content)))))


@kind
def offsets_overwritten(content, levels, random):
    return overwritten(content, levels[0].tags[OFFSETS].value + 4 * int(random.integers(20)), random.bytes(40))


@kind
def offsets_zeroed(content, levels, random):
    return overwritten(content, levels[0].tags[OFFSETS].value + 4 * int(random.integers(20)), bytes(40))


@kind
def byte_counts_overwritten(content, levels, random):
    start = levels[0].tags[COUNTS].value
    return overwritten(content, start + 2 * int(random.integers(20)), random.bytes(20))


@kind
def byte_counts_zeroed(content, levels, random):
    start = levels[0].tags[COUNTS].value
    return overwritten(content, start + 4 * int(random.integers(10)), bytes(4 * int(random.integers(1, 20))))


@kind
def an_absurd_byte_count(content, levels, random):
    place = levels[0].tags[COUNTS].value + 4 * int(random.integers(len(levels[0].tiles)))
    return overwritten(content, place, struct.pack("<I", int(random.integers(2**24, 2**32))))


@kind
def another_byte_count(content, levels, random):
    place = levels[0].tags[COUNTS].value + 4 * int(random.integers(len(levels[0].tiles)))
    return overwritten(content, place, struct.pack("<I", int(random.integers(40000))))


@kind
def byte_counts_said_to_be_more_or_fewer(content, levels, random):
    return overwritten(content, levels[0].tags[COUNTS].entry + 4, struct.pack("<I", int(random.integers(80))))


@kind
def tiles_said_to_be_more_or_fewer(content, levels, random):
    changed = overwritten(content, levels[0].tags[COUNTS].entry + 4, struct.pack("<I", int(random.integers(80))))
    return overwritten(changed, levels[0].tags[OFFSETS].entry + 4, struct.pack("<I", int(random.integers(80))))


@silent
def two_tiles_swapped(content, levels, random):
    for code in (OFFSETS, COUNTS):
        one, other = (levels[0].tags[code].value + 4 * number for number in (7, 8))
        swapped = content[other : other + 4] + content[one : one + 4]
        content = overwritten(content, one, swapped)
    return content


@kind
def two_offsets_swapped(content, levels, random):
    one, other = 4 * random.choice(len(levels[0].tiles), 2, replace=False) + levels[0].tags[OFFSETS].value
    changed = overwritten(content, int(one), content[other : other + 4])
    return overwritten(changed, int(other), content[one : one + 4])


@silent
def the_colour_model_exchanged(content, levels, random):
    return _number(content, levels[0].tags[PHOTOMETRIC], 2)


# The description


def _description(content: bytes, levels: list[Level], text: bytes) -> bytes:
    """Give level 0 another description, at the end of the file."""
    entry = levels[0].tags[DESCRIPTION].entry
    changed = overwritten(content, entry + 2, struct.pack("<HII", 2, len(text) + 1, len(content)))
    return changed + text + b"\0"


@kind
def an_mpp_that_is_none(content, levels, random):
    tag = levels[0].tags[DESCRIPTION]
    text = content[tag.value : tag.value + tag.length].rstrip(b"\0")
    values = [
        b"nan",
        b"-0.5",
        b"inf",
        b"-inf",
        b"0",
        b"1e-300",
        b"1e300",
        b"x",
        b"",
        b"0,5",
        b"0x1p-1",
        b"9" * 1_000_000,
    ]
    return _description(
        content, levels, text.partition(b"|MPP = ")[0] + b"|MPP = " + values[random.integers(len(values))]
    )


@silent
def another_mpp(content, levels, random):
    tag = levels[0].tags[DESCRIPTION]
    text = content[tag.value : tag.value + tag.length].rstrip(b"\0")
    return _description(content, levels, text.partition(b"|MPP = ")[0] + b"|MPP = 0.4%d" % random.integers(1, 9))


@kind
def a_description_of_noise(content, levels, random):
    tag = levels[0].tags[DESCRIPTION]
    text = content[tag.value : tag.value + 30]
    return _description(content, levels, text + random.bytes(2000).replace(b"\0", b"|"))


@kind
def description_bytes_overwritten(content, levels, random):
    tag = levels[0].tags[DESCRIPTION]
    return overwritten(content, tag.value + int(random.integers(tag.length - 8)), random.bytes(8))
