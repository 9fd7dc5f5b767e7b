"""TCGA barcodes, read field by field.

A name is either a whole barcode or none: nothing is cut at a column, because `DX10` cut short is `DX1`, and nothing is
searched for inside a name, because `DX1` is inside `DX10`. Names are upper case, as the GDC writes them.

Source of the fields: https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode/
"""

import re
from dataclasses import dataclass

PRIMARY_TUMOUR = "01"

_PATIENT = r"(?P<patient>TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})"

# The slide's number counts 1, 2, 3 … or A, B, C …; what follows a full stop (a UUID, a suffix) is not the barcode's.
_SLIDE = re.compile(
    _PATIENT
    + r"-(?P<sample_type>[0-9]{2})(?P<vial>[A-Z])-(?P<portion>[0-9]{2})"
    + r"-(?P<kind>[A-Z]{2})(?:(?P<number>[1-9][0-9]{0,2})|(?P<letter>[A-Z]))(?:\.[^/\\\x00-\x1f]*)?"
)

_SAMPLE = re.compile(
    _PATIENT
    + r"-(?P<sample_type>[0-9]{2})(?P<vial>[A-Z])?"
    + r"(?:(?<=[A-Z])-(?P<portion>[0-9]{2})(?P<analyte>[A-Z])?(?:(?<=[A-Z])-[A-Z0-9]{4}(?:-[0-9]{2})?)?)?"
)


@dataclass(frozen=True)
class SlideBarcode:
    """The fields of a slide's barcode, `TCGA-50-5066-02Z-00-DX1`: sample type `02`, vial `Z`, kind `DX`, number 1."""

    patient_id: str
    sample_type: str
    vial: str
    kind: str
    number: int

    @property
    def is_diagnostic(self) -> bool:
        """Whether this is a diagnostic (FFPE) slide, `DX`; `TS`, `MS` and `BS` are frozen sections."""
        return self.kind == "DX"

    @property
    def diagnostic_index(self) -> int | None:
        """1 for DX1, 10 for DX10, None for a slide that is not diagnostic."""
        return self.number if self.is_diagnostic else None


@dataclass(frozen=True)
class SampleBarcode:
    """Patient, sample type (`01` primary tumour, `06` metastasis, `11` normal) and vial (empty if not given)."""

    patient_id: str
    sample_type: str
    vial: str


def parse_slide(name: str) -> SlideBarcode | None:
    """Read the barcode at the head of a slide's file name (or slide_id); None when the name is not one.

    A slide numbered by letter (`TSA`) gets the letter's place in the alphabet, A = 1.
    """
    found = _SLIDE.fullmatch(name)
    if found is None:
        return None
    letter = found["letter"]
    number = ord(letter) - ord("A") + 1 if letter else int(found["number"])
    return SlideBarcode(found["patient"], found["sample_type"], found["vial"], found["kind"], number)


def parse_sample(name: str) -> SampleBarcode | None:
    """Read the barcode of a sample or aliquot (`TCGA-3C-AAAU-01`, `TCGA-A1-A0SE-01A-11R-A085-13`), or give None.

    A patient's barcode alone (`TCGA-3C-AAAU`) names no sample and gives None.
    """
    found = _SAMPLE.fullmatch(name)
    if found is None:
        return None
    return SampleBarcode(found["patient"], found["sample_type"], found["vial"] or "")


def claims_to_be_tcga(name: str) -> bool:
    """Whether a name begins as TCGA's do, in any case: one that does and is no barcode must not pass as a patient."""
    return name[:5].upper() in ("TCGA-", "TCGA.", "TCGA_")
