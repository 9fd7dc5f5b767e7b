"""A stage's fingerprint changes with the code that it runs, and with nothing else."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from workflow_scripts.lib import provenance
from workflow_scripts.lib.errors import InputError

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (REPOSITORY / "workflow_scripts").glob("*.py"))


def forget() -> None:
    """Read modules anew, as a new run of the workflow does."""
    provenance._read.cache_clear()


class Tree:
    """A copy of the workflow's code, edited by tests."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(
            REPOSITORY / "workflow_scripts", folder / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__")
        )
        self.folder = folder.resolve()
        self._monkeypatch = monkeypatch

    def fingerprint(self, script: str = "tile_slide.py") -> str:
        self._monkeypatch.setattr(provenance, "REPOSITORY", self.folder)
        forget()
        return provenance.code_version(self.folder / "workflow_scripts" / script)

    def module(self, name: str) -> Path:
        return self.folder / "workflow_scripts" / "lib" / f"{name}.py"

    def append(self, name: str, code: str) -> None:
        path = self.module(name)
        path.write_text(f"{path.read_text()}\n\n{code}\n")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    yield Tree(tmp_path / "checkout", monkeypatch)
    forget()


# What does not count


def test_a_comment_does_not_count(tree):
    before = tree.fingerprint()
    for path in tree.folder.glob("workflow_scripts/**/*.py"):
        path.write_text(f"# A new comment.\n{path.read_text()}\n# And another.\n")
    assert tree.fingerprint() == before


def test_a_docstring_does_not_count(tree):
    before = tree.fingerprint()
    path = tree.module("tiles")
    code = ast.parse(path.read_text())
    documented = [n for n in ast.walk(code) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    edited = 0
    for node in documented:
        if ast.get_docstring(node) is not None:
            node.body[0].value.value = "Something else."
            edited += 1
    path.write_text(ast.unparse(code))
    assert edited > 10
    assert tree.fingerprint() == before


def test_a_docstring_that_is_added_or_removed_does_not_count(tree):
    tree.append("tiles", "def f():\n    return 1\n\nclass C:\n    x = 1\n\nasync def g():\n    pass")
    before = tree.fingerprint()
    path = tree.module("tiles")
    text = path.read_text().replace("def f():\n", 'def f():\n    """F."""\n')
    text = text.replace("class C:\n", 'class C:\n    "C."\n')
    path.write_text(text.replace("async def g():\n    pass", 'async def g():\n    """G."""'))
    assert tree.fingerprint() == before


def test_formatting_does_not_count(tree):
    before = tree.fingerprint()
    path = tree.module("tiles")
    # No comment, other line breaks, other quotes.
    path.write_text(ast.unparse(ast.parse(path.read_text())).replace("\n\n", "\n\n\n\n"))
    assert tree.fingerprint() == before


def test_a_touched_file_does_not_count(tree):
    before = tree.fingerprint()
    for path in tree.folder.glob("workflow_scripts/**/*.py"):
        os.utime(path, (time.time() + 100, time.time() + 100))
    assert tree.fingerprint() == before


@pytest.mark.parametrize("module", ["training", "survival", "heterogeneity", "figures/style", "demo/cohort"])
def test_a_module_that_a_stage_does_not_reach_does_not_count(tree, module):
    before = tree.fingerprint("tile_slide.py")
    tree.append(module, "CHANGED = 1")
    assert tree.fingerprint("tile_slide.py") == before


def test_a_new_module_that_nothing_imports_does_not_count(tree):
    before = tree.fingerprint()
    tree.module("unheard_of").write_text("x = 1\n")
    assert tree.fingerprint() == before


def test_the_place_of_the_checkout_does_not_count(tree, tmp_path, monkeypatch):
    elsewhere = Tree(tmp_path / "a" / "deeper" / "place", monkeypatch)
    assert tree.fingerprint("tile_slide.py") == elsewhere.fingerprint("tile_slide.py")
    assert tree.fingerprint("draw_slide_verdicts.py") == elsewhere.fingerprint("draw_slide_verdicts.py")
    monkeypatch.undo()
    forget()
    here = provenance.code_version(REPOSITORY / "workflow_scripts" / "tile_slide.py")
    assert here == elsewhere.fingerprint("tile_slide.py")


def test_a_checkout_reached_by_a_link_has_the_fingerprints_of_its_place(tree, tmp_path):
    # Home folders of clusters are often links.
    link = tmp_path / "link"
    link.symlink_to(tree.folder)
    program = (
        "from pathlib import Path; from workflow_scripts.lib import provenance\n"
        f"print(provenance.code_version({str(link / 'workflow_scripts' / 'tile_slide.py')!r}))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(link)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert printed.stdout.strip() == tree.fingerprint("tile_slide.py")


# What counts


@pytest.mark.parametrize("module", ["tiles", "slides", "files", "errors", "journal"])
def test_a_module_counts_that_is_imported_directly_or_not(tree, module):
    before = tree.fingerprint("tile_slide.py")
    tree.append(module, "CHANGED = 1")
    assert tree.fingerprint("tile_slide.py") != before


def test_the_script_counts(tree):
    before = tree.fingerprint()
    script = tree.folder / "workflow_scripts" / "tile_slide.py"
    script.write_text(script.read_text().replace("tiles.tile_slide(", "tiles.tile_slide(\n        "))
    assert tree.fingerprint() == before
    script.write_text(script.read_text().replace("None)", "0)"))
    assert tree.fingerprint() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [("EDGE_SLACK = 1e-6", "EDGE_SLACK = 1e-5"), ("background <= max_background", "background < max_background")],
)
def test_a_number_or_a_sign_counts(tree, old, new):
    before = tree.fingerprint()
    path = tree.module("tiles")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert tree.fingerprint() != before


def test_a_string_that_is_used_counts(tree):
    tree.append("tiles", 'def f():\n    """F."""\n    return "a"')
    before = tree.fingerprint()
    path = tree.module("tiles")
    path.write_text(path.read_text().replace('return "a"', 'return "b"'))
    assert tree.fingerprint() != before


@pytest.mark.parametrize(
    "statement",
    [
        "from workflow_scripts.lib import leaf",
        "from workflow_scripts.lib.leaf import f",
        "import workflow_scripts.lib.leaf",
        "import workflow_scripts.lib.leaf as other",
        "from workflow_scripts.lib import errors as e, leaf as other",
        "from workflow_scripts.lib.leaf import *",
        "def late():\n    from workflow_scripts.lib import leaf\n    return leaf",
        "class C:\n    def late(self):\n        if self:\n            import workflow_scripts.lib.leaf as leaf",
        "try:\n    from workflow_scripts.lib import leaf\nexcept ImportError:\n    pass",
    ],
)
def test_a_module_counts_wherever_and_however_it_is_imported(tree, statement):
    tree.module("leaf").write_text("def f():\n    return 1\n")
    tree.append("slides", statement)
    before = tree.fingerprint("tile_slide.py")
    tree.module("leaf").write_text("def f():\n    return 2\n")
    assert tree.fingerprint("tile_slide.py") != before


def test_modules_in_folders_count(tree):
    before = tree.fingerprint("draw_slide_verdicts.py"), tree.fingerprint("make_demo_cohort.py")
    tree.append("figures/style", "CHANGED = 1")
    tree.append("demo/tissue", "CHANGED = 1")
    after = tree.fingerprint("draw_slide_verdicts.py"), tree.fingerprint("make_demo_cohort.py")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_modules_that_import_each_other_are_followed_once(tree):
    tree.module("one").write_text("import workflow_scripts.lib.two\n")
    tree.module("two").write_text("import workflow_scripts.lib.one\n")
    tree.append("slides", "import workflow_scripts.lib.one")
    assert tree.fingerprint() == tree.fingerprint()


def test_code_that_moves_to_another_module_counts(tree):
    tree.module("one_a").write_text("x = 1\n")
    tree.module("one_b").write_text("")
    tree.append("slides", "import workflow_scripts.lib.one_a\nimport workflow_scripts.lib.one_b")
    before = tree.fingerprint()
    tree.module("one_a").write_text("")
    tree.module("one_b").write_text("x = 1\n")
    assert tree.fingerprint() != before


def test_each_script_has_its_own_fingerprint(tree):
    tree.fingerprint()
    found = {provenance.code_version(tree.folder / "workflow_scripts" / script) for script in SCRIPTS}
    assert len(found) == len(SCRIPTS)
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in found)


def test_the_library_imports_itself_by_its_whole_name():
    # Fingerprints do not follow `from . import tiles`.
    for path in (REPOSITORY / "workflow_scripts").rglob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert all(node.level == 0 for node in imports), path


def test_code_that_is_no_python_is_named_with_its_line(tree):
    tree.append("slides", "def broken(:")
    with pytest.raises(InputError, match=r"slides\.py:\d+: not valid Python"):
        tree.fingerprint()


# What made a result


def test_a_result_says_what_made_it(tmp_path):
    table = tmp_path / "results" / "hti.tsv"
    table.parent.mkdir()
    table.write_bytes(b"slide_id\thti\n")
    settings = {"seed": 7, "code": "0123456789abcdef"}
    made = provenance.made_by("measure_heterogeneity", [str(table)], settings)
    assert made["rule"] == "measure_heterogeneity"
    assert made["settings"] == settings
    assert made["inputs"] == {"results/hti.tsv": hashlib.sha256(b"slide_id\thti\n").hexdigest()}
    assert made["packages"]["torch"] == version("torch")
    assert made["python"] == sys.version.split()[0]
    assert json.loads(json.dumps(made)) == made


def test_files_of_one_name_are_told_apart(tmp_path):
    curves = [tmp_path / f"round_{number}" / "curve.tsv" for number in (1, 2)]
    for number, path in enumerate(curves):
        path.parent.mkdir()
        path.write_text(str(number))
    inputs = provenance.made_by("draw_training_curves", curves, {})["inputs"]
    assert inputs == {
        "round_1/curve.tsv": provenance.file_digest(curves[0]),
        "round_2/curve.tsv": provenance.file_digest(curves[1]),
    }


def test_files_whose_folders_have_one_name_too_are_told_apart_by_the_folders_above(tmp_path):
    curves = [tmp_path / trait / "round_1" / "curve.tsv" for trait in ("MKI67", "KRAS")]
    sheet = tmp_path / "sheet.tsv"
    for path in (*curves, sheet):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    inputs = provenance.made_by("rule", [*curves, sheet, str(sheet)], {})["inputs"]
    assert inputs == {
        "MKI67/round_1/curve.tsv": provenance.file_digest(curves[0]),
        "KRAS/round_1/curve.tsv": provenance.file_digest(curves[1]),
        f"{tmp_path.name}/sheet.tsv": provenance.file_digest(sheet),
    }


def test_what_made_a_result_does_not_say_where_on_the_machine(tmp_path):
    path = tmp_path / "folder" / "table.tsv"
    path.parent.mkdir()
    path.touch()
    assert str(tmp_path) not in json.dumps(provenance.made_by("rule", [path], {}))


def test_a_folder_is_named_without_a_digest(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    assert provenance.made_by("draw", [folder], {})["inputs"] == {f"{tmp_path.name}/maps": None}


def test_settings_of_snakemake_become_a_plain_dictionary():
    class Parameters(list):
        """A list with names, as Snakemake passes parameters."""

        def items(self):
            return [("seed", 7), ("title", "TCGA")]

    assert provenance.made_by("rule", [], Parameters([7, "TCGA"]))["settings"] == {"seed": 7, "title": "TCGA"}
