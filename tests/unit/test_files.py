"""Files are whole or absent, and a table reads back as it was written."""

import ast
import errno
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib import files
from workflow_scripts.lib.errors import InputError

REPOSITORY = Path(__file__).parents[2]


def there_and_back(frame: pd.DataFrame, folder: Path, *, text: tuple[str, ...] = ()) -> pd.DataFrame:
    files.write_table(frame, folder / "table.tsv")
    return files.read_table(folder / "table.tsv", text=text)


# Writing


def test_a_file_appears_when_its_block_completes(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with files.writing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.writing(path) as partial:
        partial.write_text("ne")
        assert path.read_text() == "old"
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_writer_that_raises_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    class Stopped(BaseException):
        """As a KeyboardInterrupt is."""

    with pytest.raises(Stopped), files.writing(path) as partial:
        partial.write_text("half of the ne")
        raise Stopped
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_raises_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(ZeroDivisionError), files.writing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_wrote_nothing_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.writing(path):
        pass
    assert path.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_named_in_one_line(tmp_path):
    words = r"table\.tsv: the disk is full.*make room, and run again$"
    with pytest.raises(InputError, match=words), files.writing(tmp_path / "table.tsv") as partial:
        partial.symlink_to("/dev/full")
        partial.write_text("a\n")
    assert list(tmp_path.iterdir()) == []


def no_room(_handle: int) -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_a_full_disk_is_named_whatever_words_a_library_has_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(InputError, match="the disk is full"), files.writing(tmp_path / "state.pt"):
        raise RuntimeError("unexpected pos 686848 vs 686744")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_for_another_reason_is_not_put_down_to_the_disk(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="of its own"), files.writing(tmp_path / "state.pt"):
        raise RuntimeError("of its own")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(InputError, match="no tile"), files.writing(tmp_path / "state.pt"):
        raise InputError("the training set has no tile")


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, signal; from workflow_scripts.lib import files\n"
        f"with files.writing({str(path)!r}) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == -9
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["slide.h5", "A.B-1.v2.h5", "curve.png", f"{'s' * 200}.h5"])
def test_a_partial_name_is_hidden_lies_beside_the_file_and_keeps_its_suffix(tmp_path, name):
    with files.writing(tmp_path / name) as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(".")
        assert partial.suffix == Path(name).suffix
        assert partial.name != name
        partial.touch()


def test_the_partial_names_of_two_files_differ(tmp_path):
    with files.writing(tmp_path / "a.h5") as one, files.writing(tmp_path / "b.h5") as two:
        assert one != two
        one.touch()
        two.touch()


# Tables

HARD_TEXT = ["NA", "", "nan", "None", "null", "01", "1e5", " a ", "#", "a\tb", 'a "b"', "a\nb", "µm ≥", "'", "\\"]


def test_text_reads_back_as_it_was_written(tmp_path):
    read = there_and_back(pd.DataFrame({"n": range(len(HARD_TEXT)), "t": HARD_TEXT}), tmp_path, text=("t",))
    assert read["t"].tolist() == HARD_TEXT


def test_a_table_of_one_empty_cell_has_one_row(tmp_path):
    assert there_and_back(pd.DataFrame({"t": [""]}), tmp_path, text=("t",))["t"].tolist() == [""]


def test_a_missing_value_is_an_empty_cell_and_as_text_an_empty_string(tmp_path):
    frame = pd.DataFrame({"x": [0.5, math.nan], "t": ["a", None], "i": pd.array([1, None], dtype="Int64")})
    read = there_and_back(frame, tmp_path, text=("t",))
    assert (tmp_path / "table.tsv").read_text() == "x\tt\ti\n0.5\ta\t1\n\t\t\n"
    assert read["t"].tolist() == ["a", ""]
    assert read["x"].isna().tolist() == [False, True]
    assert read["i"].isna().tolist() == [False, True]


def test_only_an_empty_cell_is_missing(tmp_path):
    # A gene may be called NAN, and a patient NA.
    assert there_and_back(pd.DataFrame({"gene": ["NA", "nan", "b"]}), tmp_path)["gene"].tolist() == ["NA", "nan", "b"]


def test_numbers_read_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    any_bits = [struct.unpack("d", rng.bytes(8))[0] for _ in range(2000)]
    numbers = np.array([*rng.random(2000), *any_bits, 0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0])
    numbers = numbers[np.isfinite(numbers)]
    read = there_and_back(pd.DataFrame({"x": numbers}), tmp_path)["x"].to_numpy()
    assert read.tobytes() == numbers.tobytes()


def test_infinity_reads_back(tmp_path):
    assert there_and_back(pd.DataFrame({"x": [math.inf, -math.inf, 1.0]}), tmp_path)["x"].tolist() == [
        math.inf,
        -math.inf,
        1.0,
    ]


def test_integers_stay_integers(tmp_path):
    assert there_and_back(pd.DataFrame({"n": [1, 2**60]}), tmp_path)["n"].tolist() == [1, 2**60]


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    read = there_and_back(pd.DataFrame(columns=["a", "b"]), tmp_path, text=("a",))
    assert list(read.columns) == ["a", "b"]
    assert len(read) == 0


def test_columns_named_as_text_may_be_absent(tmp_path):
    assert list(there_and_back(pd.DataFrame({"a": [1]}), tmp_path, text=("a", "z")).columns) == ["a"]


def test_the_same_table_gives_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"t": HARD_TEXT, "x": np.random.default_rng(1).random(len(HARD_TEXT))})
    files.write_table(frame, tmp_path / "a.tsv")
    files.write_table(files.read_table(tmp_path / "a.tsv", text=["t"]), tmp_path / "b.tsv")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"a\tb\n1\t2\n1\t2\t3\n", b"a\tb\n1\t2\t3\n4\t5\t6\n", b"a\tb\n\xff\xfe\t2\n"],
    ids=["empty", "blank", "one longer row", "all rows longer", "not text"],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, content):
    path = tmp_path / "table.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.tsv: expected"):
        files.read_table(path, text=["a"])


def test_a_table_of_another_machine_reads_the_same(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_bytes("\ufeffa\tb\r\n01\t2\r\n".encode())
    read = files.read_table(path, text=["a"])
    assert read.to_dict("list") == {"a": ["01"], "b": [2]}


# HDF5


def test_hdf5_files_are_read_or_written_anew_and_never_locked():
    opened = [
        (path, call)
        for path in sorted((REPOSITORY / "workflow_scripts").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "h5py.File"
    ]
    assert opened
    for path, call in opened:
        assert ast.literal_eval(call.args[1]) in ("r", "w"), f"{path}:{call.lineno}"
        named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert named.get("locking") == "False", f"{path}:{call.lineno}"
