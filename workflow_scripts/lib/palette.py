"""The colour and the word of each thing on a map: the same in figures and in exports."""

from collections.abc import Mapping, Sequence

from workflow_scripts.lib.heterogeneity import combination_names

NO_TISSUE = "#FFFFFF"
FILTERED = "#C4D3E6"
NEGATIVE = "#D6D6D6"
POSITIVE = "#E8559F"
# The first three as in the paper's Fig. 3a: A pink, B green, both brown. The order is that of the combinations as
# binary numbers: A, B, A+B, C, A+C, B+C, A+B+C.
COMBINATIONS = ("#E8559F", "#2BAE66", "#5C3210", "#3E8FE0", "#312C8C", "#F0E442", "#000000")
OTHER_COMBINATIONS = "#E8770E"


def combination_colours(traits: Sequence[str], counts: Mapping[str, int]) -> dict[str, str]:
    """A colour for each combination that occurs in `counts` (name to number of tiles), `none` apart.

    Up to three traits each combination has its own colour on every slide: A pink, B green, both brown (Paper: Fig. 3a).
    With more, the seven commonest have one each, and the others share the last.
    """
    if len(traits) <= 3:
        names = [
            "+".join(trait for bit, trait in enumerate(traits) if code >> bit & 1)
            for code in range(1, 2 ** len(traits))
        ]
        fixed = dict(zip(names, COMBINATIONS, strict=False))
        return {name: fixed[name] for name in combination_names(traits)[:-1] if counts.get(name, 0)}
    present = [name for name in combination_names(traits)[:-1] if counts.get(name, 0)]
    common = sorted(present, key=lambda name: -counts[name])[: len(COMBINATIONS)]
    colours = dict(zip(common, COMBINATIONS, strict=False))
    return {name: colours.get(name, OTHER_COMBINATIONS) for name in present}


def combination_label(name: str) -> str:
    """How a combination of traits is called on a map: `A only`, or `A + B` for `A+B`."""
    return name.replace("+", " + ") if "+" in name else f"{name} only"
