"""Stains found in pixels of tissue, by each method; and what is not normalised, with the reason."""

import numpy as np

from workflow_scripts.lib import stains
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stains import (
    LEAST_SQUARES,
    MACENKO,
    METHODS,
    REINHARD,
    VAHADANE,
    Appearance,
    Colours,
    Normalisation,
    Stains,
)

# Tissue has less luminosity (L* from 0 to 1) than this; staintools'.
MOST_LUMINOSITY = 0.8
# Percent of the angles that lies beyond each of Macenko's vectors, and of the concentrations beyond their maxima.
BEYOND = 1.0
# Least absorbance, in each channel, of the pixels whose angles count; of the published least-squares constants.
LEAST_SQUARES_BETA = 0.15
# Vahadane's dictionary: staintools' penalty, and when the iteration ends: no number of an atom moves by more.
DICTIONARY_PENALTY, DICTIONARY_STEPS, DICTIONARY_MOVE = 0.1, 500, 1e-6

# What is normalised; docs/methods.md has the measurements behind these. Angles in degrees.
FEWEST_PIXELS = 1000
MOST_AMPLIFIED = 3.0
LEAST_APART = {MACENKO: 11.0, LEAST_SQUARES: 11.0, VAHADANE: 6.0}
LEAST_ABSORBED = -0.1

STAIN_NAMES = ("haematoxylin", "eosin")
COLOUR_NAMES = ("L*", "a*", "b*")


class Unfit(Exception):
    """Pixels that cannot be normalised, or be a reference; the message is the reason."""


def normalise(pixels: np.ndarray, target: Appearance, *, method: str) -> Normalisation:
    """Find what is to be done to a slide's colours so that they look like `target`'s.

    pixels: (n, 3) uint8, tissue from all over the slide. Colours are kept, and the normalisation says why, where `fit`
    finds no two stains, and where one (for Reinhard: the spread of a channel) would have to be amplified more than
    MOST_AMPLIFIED times: what is then amplified is noise.
    """
    source, reason = None, ""
    try:
        source = fit(pixels, method=method)
        _check_amplification(source, target)
    except Unfit as unfit:
        reason = str(unfit)
    return Normalisation(method, source, target, reason, len(pixels))


def is_tissue(pixels: np.ndarray) -> np.ndarray:
    """Say which pixels (n, 3) uint8 are darker than the background: their luminosity, L* from 0 to 1, is below 0.8."""
    return stains.lab(np, pixels.T.astype(np.float64))[0] < 100 * MOST_LUMINOSITY


def fit(pixels: np.ndarray, *, method: str) -> Appearance:
    """Find how pixels of tissue (n, 3) uint8 are stained.

    - reinhard: mean and standard deviation of L*, a*, b*.
    - macenko: the extreme directions (1st and 99th percentile of the angle) in the plane of the two largest principal
      axes of the absorbances.
    - macenko_least_squares: the same of the pixels that absorb at least 0.15 in each channel.
    - vahadane: two non-negative atoms that with sparse non-negative concentrations come nearest to the absorbances.

    The first stain is the one that absorbs more red: haematoxylin.

    Raises Unfit where that gives no two stains of haematoxylin and eosin, or no spread of colours, and InputError for a
    method that does not exist.
    """
    if method not in METHODS:
        raise InputError(f"stain method {method!r}: expected one of {', '.join(METHODS)}")
    if len(pixels) < FEWEST_PIXELS:
        raise Unfit(
            f"nearly blank: {len(pixels):,} pixels are as dark as tissue, at least {FEWEST_PIXELS:,} are needed"
        )
    channels = pixels.T.astype(np.float64)
    if method == REINHARD:
        found = np.array(stains.lab(np, channels))
        colours = Colours(tuple(found.mean(axis=1).tolist()), tuple(found.std(axis=1).tolist()))
        if min(colours.deviations) <= 0:
            raise Unfit("one colour: there is no spread to be moved")
        return colours
    absorbed = np.array(stains.absorbances(np, channels, method=method))
    vectors = _vectors(absorbed, method=method)
    _check_vectors(vectors, method=method)
    if method == LEAST_SQUARES:
        concentrations = np.linalg.pinv(vectors.T) @ absorbed
    else:
        concentrations = stains.lasso(np, absorbed, vectors.ravel(), penalty=stains.PENALTY)
    maxima = np.percentile(concentrations, 100 - BEYOND, axis=1).tolist()
    for name, most in zip(STAIN_NAMES, maxima, strict=True):
        if most <= 0:
            raise Unfit(f"one stain: there is no {name}")
    return Stains(tuple(map(tuple, vectors.tolist())), tuple(maxima))


def _vectors(absorbed: np.ndarray, *, method: str) -> np.ndarray:
    """The vectors of haematoxylin and eosin (2, 3), of length 1, from absorbances (3, n)."""
    if method == VAHADANE:
        vectors = _dictionary(absorbed)
    elif method == MACENKO:
        vectors = _extreme_directions(absorbed)
    else:
        strong = absorbed[:, (absorbed >= LEAST_SQUARES_BETA).all(axis=0)]
        if strong.shape[1] < FEWEST_PIXELS:
            raise Unfit(
                f"weakly stained: {strong.shape[1]:,} pixels absorb enough, at least {FEWEST_PIXELS:,} are needed"
            )
        vectors = _extreme_directions(strong)
    return vectors if vectors[0, 0] >= vectors[1, 0] else vectors[::-1].copy()


def _extreme_directions(absorbed: np.ndarray) -> np.ndarray:
    _, axes = np.linalg.eigh(np.cov(absorbed))
    plane = axes[:, [2, 1]]
    # Which way an axis points is chance; here to where red is absorbed, so that the angles do not wrap around.
    plane = plane * np.where(plane[0] < 0, -1, 1)
    angles = np.arctan2(*(plane.T @ absorbed)[::-1])
    extremes = np.percentile(angles, [BEYOND, 100 - BEYOND])
    return _unit(np.stack([np.cos(extremes), np.sin(extremes)], axis=1) @ plane.T)


def _dictionary(absorbed: np.ndarray) -> np.ndarray:
    """Two non-negative atoms (2, 3) with which the lasso of all pixels is least, by turns: shares, then each atom.

    It begins at the published vectors, so that it ends at the same atoms each time.
    """
    atoms = _unit(np.array(stains.PUBLISHED.vectors))
    for _ in range(DICTIONARY_STEPS):
        before = atoms.copy()
        shares = np.array(stains.lasso(np, absorbed, atoms.ravel(), penalty=DICTIONARY_PENALTY))
        together, drawn = shares @ shares.T, shares @ absorbed.T
        for atom in range(2):
            if together[atom, atom] > 0:
                step = (drawn[atom] - together[atom] @ atoms) / together[atom, atom]
                atoms[atom] = np.maximum(atoms[atom] + step, 0)
            if not atoms[atom].any() or together[atom, atom] == 0 or _angle(*atoms) < DICTIONARY_MOVE:
                raise Unfit("one stain: a second is not needed for its colours")
            atoms[atom] /= np.linalg.norm(atoms[atom])
        if np.abs(atoms - before).max() < DICTIONARY_MOVE:
            break
    return atoms


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _angle(one: np.ndarray, two: np.ndarray) -> float:
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _check_vectors(vectors: np.ndarray, *, method: str) -> None:
    apart = _angle(*vectors)
    if apart < LEAST_APART[method]:
        raise Unfit(f"one stain: the two found are {apart:.1f}° apart, at least {LEAST_APART[method]:g}° are needed")
    # Both absorb green more than blue, and eosin more than red; see `quality.ink_shares`.
    for name, (red, green, blue) in zip(STAIN_NAMES, vectors, strict=True):
        if min(red, blue) < LEAST_ABSORBED or green <= blue or (name == "eosin" and green <= red):
            raise Unfit(
                f"not haematoxylin and eosin: the {name} found absorbs red, green and blue as "
                f"{red:.2f} : {green:.2f} : {blue:.2f}"
            )


def _check_amplification(source: Appearance, target: Appearance) -> None:
    if isinstance(source, Colours):
        names, factors = COLOUR_NAMES, np.divide(target.deviations, source.deviations)
    else:
        names, factors = STAIN_NAMES, np.divide(target.maxima, source.maxima)
    most = int(np.argmax(factors))
    if factors[most] > MOST_AMPLIFIED:
        times = f"{factors[most]:.1f}" if factors[most] < 100 else "more than 100"
        raise Unfit(f"weakly stained: {names[most]} would be amplified {times} times, at most {MOST_AMPLIFIED:g}")
