"""Photographs: plain images of a microscope's camera, which take the place of slides.

What a file says besides its pixels goes no further: EXIF and comments may name a person, and a number of dots per inch
is not one of µm/px.
"""

import re
import warnings
from pathlib import Path

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from workflow_scripts.lib import integrity
from workflow_scripts.lib.errors import InputError

# The forms that are read, by Pillow's names; a file's is found from its content, whatever its suffix.
FORMS = ("JPEG", "PNG", "TIFF", "BMP")
# Of Pillow's modes, what else a camera's program may write.
OTHER_COLOURS = {"1": "black and white", "L": "grey", "LA": "grey", "I;16": "grey", "P": "a palette", "CMYK": "CMYK"}
# What takes back the turn by which Pillow follows a TIFF's tag of orientation.
TURNS_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class PhotographRefused(InputError):
    """A file that is no photograph which can be used. The message is one line of plain text, without its name."""


def read_photograph(path: str | Path) -> Image.Image:
    """Return a photograph as an RGB image of its pixels alone, over white where it is transparent.

    The pixels are those of the file as they are stored, since annotations are drawn on them: a tag of orientation turns
    nothing, and a colour profile changes nothing.

    Raises PhotographRefused for a file that is not an image of FORMS, that is cut short or damaged, that has several
    pages or frames, another colour than RGB of 8 bits, or more pixels than Pillow's `MAX_IMAGE_PIXELS`. A JPEG is
    decoded to its last byte, and what libjpeg warns of is damage: Pillow fills rows that lack, and says nothing, where
    the file has an end. Raises integrity.DamagedFile as `integrity.tiled_images` does.
    """
    integrity.tiled_images(path)
    try:
        with warnings.catch_warnings():
            # Most are about EXIF, which is not used.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read(path)
    except PhotographRefused:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PhotographRefused(
            f"more than {Image.MAX_IMAGE_PIXELS:,} px, the most that a photograph may have; make a slide of it, as a "
            "pyramidal TIFF"
        ) from error
    except UnidentifiedImageError as error:
        raise PhotographRefused("cannot be opened: not an image, cut short, or of an unsupported form") from error
    # A parser on damaged bytes can stumble anywhere, and says so in words of its own or in Python's.
    except Exception as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error).split())[:160]
        raise PhotographRefused(f"cannot be opened, cut short or damaged: {problem}") from error


def _read(path: str | Path) -> Image.Image:
    with Image.open(path, formats=FORMS) as image:
        _check_kind(image)
        if image.format == "JPEG" and (problem := integrity.problem_of_jpeg(Path(path).read_bytes())):
            raise PhotographRefused(f"cannot be opened, cut short or damaged: {problem}")
        # The checksums of a PNG, which decoding passes over. The image is of no use afterwards.
        image.verify()
    with Image.open(path, formats=FORMS) as image:
        # Looked up before the pixels are decoded, which takes it away.
        orientation = image.getexif().get(ExifTags.Base.Orientation) if image.format == "TIFF" else None
        image.load()
        stored = image.transpose(TURNS_BACK[orientation]) if orientation in TURNS_BACK else image
        pixels = Image.new("RGB", stored.size, "white")
        pixels.paste(stored, mask=stored.convert("RGBA").getchannel("A") if stored.has_transparency_data else None)
        return pixels


def _check_kind(image: Image.Image) -> None:
    """Raise PhotographRefused unless an image that is opened, and not decoded yet, is a single one of 8-bit colour."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise PhotographRefused(f"{frames} pages or frames, expected a single image")
    if image.mode not in ("RGB", "RGBA"):
        raise PhotographRefused(f"{OTHER_COLOURS.get(image.mode, image.mode)}, expected colour (RGB) of 8 bits")
    if not _has_8_bits(image):
        raise PhotographRefused("colour of more or less than 8 bits, expected RGB of 8 bits")


def _has_8_bits(image: Image.Image) -> bool:
    """Whether each channel has 8 bits in the file; Pillow makes 8 of other numbers and does not tell."""
    if image.format == "TIFF":
        return set(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) == {8}
    # How the file's bytes become pixels, such as `RGB;16B`, alone or first of several values.
    packed = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile]
    return not any(re.search(r";1\d", mode) for mode in packed)
