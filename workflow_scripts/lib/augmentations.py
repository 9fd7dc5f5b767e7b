"""What is done to tiles in training, so that networks learn what does not change a tile's class.

Sources: the cartography paper (flips alone); metastatic origin, 2.2; neural image compression, 3, which takes what is
heavy from Tellez et al., Quantifying the effects of data augmentation and stain color normalization (Medical Image
Analysis, 2019; "the survey" below).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from workflow_scripts.lib import models

# What moves a tile's pixels and changes none, in the order in which it is done.
TURNS = ("horizontal_flip", "vertical_flip", "transpose")
# The largest factor of saturation, as `colour_jitter`'s of density.
SATURATION = 1.25
# The same of brightness: with a tenth more light, a channel burns out in 1 % to 6 % of the pixels of most pictures of
# tissue, red as a rule, and with a quarter more in 11 % to 65 %.
BRIGHTNESS = 1.1
# The largest turn of the hues, in degrees: a sixth of the way from haematoxylin's to eosin's, which are 70 apart. By a
# quarter, pink stroma comes out orange.
HUE = 12.0
# How much of each channel the eye takes for light (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
COLOURS = ("hue", "saturation", "brightness")
# A tile is larger or smaller by up to this share (the survey: 0.8 to 1.2).
SCALING = 0.2
# Standard deviation of the shifts of an elastic deformation, and how far (the sigma of a Gaussian) neighbours are
# shifted alike, in px: the survey's alpha of 80 to 120 and sigma of 9 to 11 at their means, 100 / √3 / (2 √π · 10). It
# has tiles of 0.5 µm/px too. The random numbers are KNOTS_PX apart, which is close enough for a field so smooth.
ELASTIC, ELASTIC_SIGMA, KNOTS_PX = 1.63, 10.0, 8
# The largest factor of the distance from the tile's mean grey (the survey: 0.65 to 1.35).
CONTRAST = 1.35
# How far a stain's density is scaled and shifted (the survey's light and strong).
HED = {"hed_light": 0.05, "hed_strong": 0.2}
# Haematoxylin, eosin and DAB: densities of red, green and blue (Ruifrok and Johnston, 2001).
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
# Mean intensities, from black to white, between which a tile has stains to speak of (the published pipeline).
STAINED = (0.15, 0.85)
# The largest sigma of a Gaussian blur in px: at 0.5 µm/px, nuclei keep their outlines and lose their texture. And the
# pixels that count, to either side.
BLUR, BLUR_REACH = 1.5, 4
# The largest standard deviation of noise (the survey: 0.1), of values from −1 to 1: 13 grey levels.
NOISE = 0.1


def augment(
    images: torch.Tensor, names: Sequence[str], generator: torch.Generator, *, of: int, part: slice = slice(None)
) -> torch.Tensor:
    """The `models.to_input` of tiles (n, 3, px, px) uint8, each changed by each name with probability ½.

    The batch is `part` of a step of `of` tiles, and what happens to a tile does not depend on how those are parted.

    - `horizontal_flip`, `vertical_flip`: all that the cartography paper has (Methods, Training).
    - `transpose`: with the flips, it makes all eight symmetries of a square.
    - `rotation`: by 0 to 3 quarters of a turn, all four alike likely, so by none with probability ¼. Of other angles
      the corners would have to be made up, and all pixels to be mixed with their neighbours, as no tile's are that is
      predicted.
    - `colour_jitter`: scales each tile's distance from white per channel by 0.8-1.25 (its stain's density, roughly).
    - `hue`, `saturation`, `brightness`: the tile's colours are turned about the axis of grey by up to HUE degrees,
      their distance from grey is scaled by up to SATURATION, and the light by up to BRIGHTNESS, either way; in this
      order, and cut off at black and white. (Metastatic origin, 2.2, which says no more than the names.)

    And, in this order, what is heavy (neural image compression, 3), which leaves values in [−1, 1]:

    - `scaling`, `elastic`: the tile grows or shrinks about its centre by up to SCALING, and its pixels are shifted by a
      smooth random field (ELASTIC); what is missing at the edges is reflected. Both are one step, so that pixels are
      mixed with their neighbours once.
    - `contrast`: the distance from the tile's mean grey is scaled by up to CONTRAST, either way.
    - `hed_light`, `hed_strong`: the density of each of the STAINS, v, becomes v (1 + a) + b, with a and b drawn for
      each up to HED, either way; of tiles whose mean intensity is in STAINED. Density is −log(2 + intensity), as in the
      scikit-image by which the published ranges were chosen: by today's, which leaves out the 2, they change colours
      twice as much.
    - `blur`: by a Gaussian of a sigma up to BLUR.
    - `noise`: normal, of a standard deviation up to NOISE, for each pixel and channel. Tiles have windows of one sheet
      of noise, of which two may be the same.
    """

    def chosen() -> torch.Tensor:
        return torch.rand(of, generator=generator)[part] < 0.5

    turns = [chosen() if name in names else torch.zeros(len(images), dtype=torch.bool) for name in TURNS]
    if "rotation" in names:
        turns = _rotated(*turns, torch.randint(4, (of,), generator=generator)[part])
    batch = models.to_input(_turned(images, torch.stack(turns, dim=1)))
    if "colour_jitter" in names:
        scale = torch.exp((torch.rand(of, 3, 1, 1, generator=generator)[part] * 2 - 1) * math.log(1.25))
        scaled = (1 - batch).mul_(scale.to(batch.device)).neg_().add_(1).clamp_(-1, 1)
        batch = torch.where(chosen().to(batch.device)[:, None, None, None], scaled, batch)
    if not set(COLOURS).isdisjoint(names):
        # From −1 to 1, and 0 for a tile that is not chosen.
        drawn = [
            (torch.rand(of, generator=generator)[part] * 2 - 1) * chosen() if name in names else torch.zeros(len(batch))
            for name in COLOURS
        ]
        batch = _coloured(batch, _colour_matrices(*drawn).to(batch.device))

    def spread(*shape: int) -> torch.Tensor:
        """From −1 to 1, alike likely."""
        return torch.rand(of, *shape, generator=generator)[part] * 2 - 1

    if not {"scaling", "elastic"}.isdisjoint(names):
        px, nothing = batch.shape[-1], torch.zeros(len(batch), dtype=torch.bool)
        scaled, factors = (
            (chosen(), 1 + SCALING * spread()) if "scaling" in names else (nothing, torch.ones(len(batch)))
        )
        weights = _knot_weights(px)
        bent, knots = nothing, torch.zeros(len(batch), 2, weights.shape[1], weights.shape[1])
        if "elastic" in names:
            bent, knots = chosen(), torch.randn(of, *knots.shape[1:], generator=generator)[part]
        factors, knots = torch.where(scaled, factors, 1), knots * bent[:, None, None, None]
        batch = _changed(batch, scaled | bent, partial(_warped, weights=weights.to(batch.device)), factors, knots)
    if "contrast" in names:
        batch = _changed(batch, chosen(), _contrasted, CONTRAST ** spread())
    for name, largest in HED.items():
        if name in names:
            batch = _changed(batch, chosen(), _restained, 1 + largest * spread(3), largest * spread(3))
    if "blur" in names:
        batch = _changed(batch, chosen(), _blurred, BLUR * torch.rand(of, generator=generator)[part])
    if "noise" in names:
        # Normal numbers for every pixel of every tile are slow to draw, and on a GPU to move there.
        height, width = batch.shape[2:]
        sheet = torch.randn(2 * height, 2 * width, 3, generator=generator).to(batch.device)
        corners = torch.stack(
            [torch.randint(side + 1, (of,), generator=generator)[part] for side in (height, width)], 1
        )
        batch = _changed(
            batch,
            chosen(),
            partial(_with_noise, sheet=sheet),
            NOISE * torch.rand(of, generator=generator)[part],
            corners,
        )
    return batch


def _rotated(
    horizontal: torch.Tensor, vertical: torch.Tensor, transposed: torch.Tensor, quarters: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """TURNS (n,) bool that do what those given do, and then rotate by quarters of a turn (n,), counterclockwise.

    So tiles are still turned in eight ways at most, and each is moved once. A half turn is both flips; a quarter is a
    transposition and then a vertical flip, which comes before a transposition as a horizontal one.
    """
    half, quarter = quarters >= 2, quarters % 2 == 1
    horizontal, vertical = horizontal ^ half, vertical ^ half
    return horizontal ^ (quarter & ~transposed), vertical ^ (quarter & transposed), transposed ^ quarter


def _colour_matrices(hue: torch.Tensor, saturation: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    """What RGB from black is multiplied by, (n, 3, 3), for changes (n,) from −1 to 1, of which 0 is none."""
    axis = torch.full((3, 3), 1 / 3)
    angle = (hue * math.radians(HUE))[:, None, None]
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turned = axis + torch.cos(angle) * (torch.eye(3) - axis) + torch.sin(angle) * across
    scale = (SATURATION**saturation)[:, None, None]
    grey = torch.tensor(LUMA).expand(3, 3)
    return (grey + scale * (torch.eye(3) - grey)) @ turned * (BRIGHTNESS**brightness)[:, None, None]


def _coloured(batch: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Network input (n, 3, px, px) with the colours of each tile multiplied by its matrix."""
    # Black is −1 in network input.
    return _mixed(batch, matrices, matrices.sum(dim=2) - 1).clamp_(-1, 1)


def _mixed(batch: torch.Tensor, matrices: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """The channels of tiles (n, 3, px, px) multiplied by the matrix of each (n, 3, 3), and shifted (n, 3).

    Channel by channel, which takes half the time of a product of matrices so small, and keeps its 32 bits where
    products have fewer.
    """
    mixed = torch.empty_like(batch)
    red, green, blue = batch.unbind(1)
    for channel, row, shift in zip(mixed.unbind(1), matrices.unbind(1), shifts.unbind(1), strict=True):
        of_red, of_green, of_blue = row[:, :, None, None].unbind(1)
        torch.mul(red, of_red, out=channel)
        channel.addcmul_(green, of_green).addcmul_(blue, of_blue).add_(shift[:, None, None])
    return mixed


def _turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Tiles flipped and transposed as `turns` (n, 3) bool says, in the order of TURNS.

    Bytes cost a quarter of what network input does; and tiles that are turned alike go together, since on a GPU each
    call has its price.
    """
    pixels = images.permute(0, 2, 3, 1)
    turned = torch.empty_like(pixels)
    for turn in torch.unique(turns, dim=0):
        members = (turns == turn).all(dim=1).nonzero()[:, 0].to(images.device)
        horizontal, vertical, transposed = turn.tolist()
        alike = pixels[members].flip([2] * horizontal + [1] * vertical)
        turned[members] = alike.transpose(1, 2) if transposed else alike
    return turned.permute(0, 3, 1, 2)


def _changed(
    batch: torch.Tensor, chosen: torch.Tensor, change: Callable[..., torch.Tensor], *drawn: torch.Tensor
) -> torch.Tensor:
    """Network input with `change` done to the tiles that are chosen (n,), by what is drawn for each, (n, ...)."""
    members = chosen.nonzero()[:, 0]
    if len(members):
        pixels, places = batch.permute(0, 2, 3, 1), members.to(batch.device)
        changed = change(pixels[places].permute(0, 3, 1, 2), *(one[members].to(batch.device) for one in drawn))
        pixels[places] = changed.clamp_(-1, 1).permute(0, 2, 3, 1)
    return batch


def _knot_weights(px: int) -> torch.Tensor:
    """How much of each knot (k) a pixel's shift has along one axis, (px, k); their squares sum to 1 for each pixel."""
    reach = 2 * ELASTIC_SIGMA
    knots = torch.arange(-reach, px + reach + KNOTS_PX, KNOTS_PX)
    weights = torch.exp(-(((torch.arange(px)[:, None] - knots) / ELASTIC_SIGMA) ** 2) / 2)
    return weights / weights.norm(dim=1, keepdim=True)


def _warped(batch: torch.Tensor, factors: torch.Tensor, knots: torch.Tensor, *, weights: torch.Tensor) -> torch.Tensor:
    """Tiles made larger by factors (n,), and their pixels shifted as knots (n, 2, k, k) say, of columns and rows."""
    px = batch.shape[-1]
    # Where pixels are from: the tile's centre is 0, its edges −1 and 1.
    along = (torch.arange(px, device=batch.device) * 2 + 1) / px - 1
    even = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
    shifts = (weights @ knots @ weights.T).permute(0, 2, 3, 1) * (ELASTIC * 2 / px)
    origins = even / factors[:, None, None, None] + shifts
    return torch.nn.functional.grid_sample(batch, origins, padding_mode="reflection", align_corners=False)


def _contrasted(batch: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Tiles with the distance from their mean grey scaled by factors (n,)."""
    light = torch.tensor(LUMA, device=batch.device)
    grey = (batch.mean(dim=(2, 3)) @ light)[:, None, None, None]
    return grey + (batch - grey) * factors[:, None, None, None]


def _restained(batch: torch.Tensor, factors: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Tiles with the densities of the STAINS multiplied by factors (n, 3) and shifted (n, 3), see `augment`."""
    of_stains = torch.tensor(STAINS, device=batch.device)
    # Densities are −log(2 + intensity) = matrix · stains; to stains, changed, and back is one matrix for each tile.
    matrices = of_stains.T @ (factors[:, :, None] * torch.linalg.inv(of_stains.T))
    density_shifts = shifts @ of_stains
    changed = _mixed((batch / 2 + 2.5).log_(), matrices, -density_shifts).exp_().mul_(2).sub_(5)
    intensity = batch.mean(dim=(1, 2, 3)) / 2 + 0.5
    stained = (intensity >= STAINED[0]) & (intensity <= STAINED[1])
    return torch.where(stained[:, None, None, None], changed, batch)


def _blurred(batch: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Tiles blurred by Gaussians of sigmas (n,) px; past their edges they are reflected."""
    steps = torch.arange(BLUR_REACH + 1, device=batch.device)
    weights = torch.exp(-((steps / sigmas.clamp(min=1e-3)[:, None]) ** 2) / 2)
    weights = weights / (weights[:, :1] + 2 * weights[:, 1:].sum(dim=1, keepdim=True))
    for axis in (2, 3):
        px = batch.shape[axis]
        around = torch.arange(-BLUR_REACH, px + BLUR_REACH, device=batch.device) % (2 * px)
        wide = batch.index_select(axis, torch.minimum(around, 2 * px - 1 - around))
        batch = weights[:, 0, None, None, None] * wide.narrow(axis, BLUR_REACH, px)
        for step in range(1, BLUR_REACH + 1):
            sides = (wide.narrow(axis, BLUR_REACH + way * step, px) for way in (-1, 1))
            for side in sides:
                batch.addcmul_(weights[:, step, None, None, None], side)
    return batch


def _with_noise(
    batch: torch.Tensor, deviations: torch.Tensor, corners: torch.Tensor, *, sheet: torch.Tensor
) -> torch.Tensor:
    """Tiles with windows of a sheet of noise, from corners (n, 2) on, times deviations (n,) added."""
    rows, columns = (
        corners[:, axis, None] + torch.arange(batch.shape[axis + 2], device=batch.device) for axis in (0, 1)
    )
    noise = sheet[rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return batch.addcmul_(noise, deviations[:, None, None, None])
