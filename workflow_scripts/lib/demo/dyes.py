"""Two dyes: amounts of them turned into light by Beer-Lambert, as each laboratory stains and each scanner sees."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.lib.demo.brushes import textures, tiled

HAEMATOXYLIN = (0.58, 0.73, 0.37)
EOSIN = (0.16, 0.84, 0.50)
# Amounts of stain are turned into light by a table: so many steps for each, up to these amounts.
STEPS = 128
FULL_SCALE = (2.0, 2.4)


@dataclass(frozen=True)
class Stain:
    """How one slide was stained and lit: optical density per unit (3,), strengths, and the glass's colour (3,)."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    glass: np.ndarray


@dataclass(frozen=True)
class Laboratory:
    """What slides are stained like: hue (3,) and strength of both dyes, and how much these vary between slides.

    turn: standard deviation of each part of a hue; spread: of a strength's logarithm.
    """

    haematoxylin: tuple[float, float, float] = HAEMATOXYLIN
    eosin: tuple[float, float, float] = EOSIN
    strengths: tuple[float, float] = (1.15, 0.62)
    turn: float = 0.035
    spread: float = 0.22


# Slides of many laboratories vary widely.
MANY = Laboratory()


def draw_stain(rng: np.random.Generator, laboratory: Laboratory = MANY) -> Stain:
    """The stain of a slide: hue and strength of both dyes vary as the laboratory's do, the glass hardly."""

    def dye(vector: tuple[float, float, float], strength: float) -> np.ndarray:
        turned = np.clip(np.array(vector) + rng.normal(0, laboratory.turn, 3), 0.02, None)
        return strength * np.exp(rng.normal(0, laboratory.spread)) * turned / np.linalg.norm(turned)

    glass = rng.uniform(238, 246) + rng.uniform(-1.2, 1.2, 3)
    of_haematoxylin, of_eosin = laboratory.strengths
    return Stain(dye(laboratory.haematoxylin, of_haematoxylin), dye(laboratory.eosin, of_eosin), glass)


def develop(
    haematoxylin: np.ndarray, eosin: np.ndarray, stain: Stain, seed: int, rng: np.random.Generator
) -> np.ndarray:
    """Amounts of stain (float32, rows × columns) as light: uint8 (rows, columns, 3), with a camera's grain."""
    grain = textures(seed)["grain"]
    steps = []
    for amount, scale, noise in ((haematoxylin, FULL_SCALE[0], 0.012), (eosin, FULL_SCALE[1], 0.02)):
        amount *= (STEPS - 1) / scale
        strength = noise * (STEPS - 1) / scale
        tiled(amount, grain, rng, lambda part, g, s=strength: np.add(part, s * g + 1.5, out=part))
        steps.append(np.clip(amount, 0, STEPS - 1, out=amount).astype(np.uint16))
    h, e = np.meshgrid(np.arange(STEPS) - 1.5, np.arange(STEPS) - 1.5, indexing="ij")
    density = (h * FULL_SCALE[0] / (STEPS - 1))[..., None] * stain.haematoxylin
    density = density + (e * FULL_SCALE[1] / (STEPS - 1))[..., None] * stain.eosin
    table = np.clip(np.round(stain.glass * np.exp(-density)), 0, 255).astype(np.uint8).reshape(-1, 3)
    return table[steps[0] * np.uint16(STEPS) + steps[1]]
