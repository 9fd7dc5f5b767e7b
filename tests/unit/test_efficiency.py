"""What a run's jobs used of what they asked for."""

import pytest

from workflow_scripts.lib import efficiency
from workflow_scripts.lib.errors import InputError

LOG = """Job 2 has been submitted with SLURM jobid 17 (log: /run/.snakemake/slurm_logs/rule_train_model/demo/1/17.log).
Job 8a98 has been submitted with SLURM jobid 18 (log: /run/.snakemake/slurm_logs/group_tiling_tile_slide/18.log).
Finished jobid: 2 (Rule: train_model)
"""
RULES = {"train_model", "model", "tile_slide"}
# A training that lost its node, went back to the queue and ended; twenty slides, of which one took too much memory.
LISTING = """17|NODE_FAIL|1800|00:00:00|7200|32000M||billing=4,cpu=4,gres/gpu=1,mem=32000M,node=1
17.batch|CANCELLED|1800||7200||120000K|cpu=4
17|COMPLETED|3600|1-01:00:00.500|14400|32000M||billing=4,cpu=4,gres/gpu=1,mem=32000M,node=1
17.batch|COMPLETED|3600|00:01:00|14400||120000K|cpu=4
17.0|COMPLETED|3600|01:59:00|14400||2000000K|cpu=4
18|FAILED|90|00:45.000|90|4000Mc||billing=1,cpu=1,mem=4000M,node=1
18.0|OUT_OF_MEMORY|90|00:45.000|90||3900M|cpu=1
"""


def test_jobs_and_their_rules_are_read_from_the_log():
    assert efficiency.submitted(LOG, RULES) == {"17": "train_model", "18": "tile_slide"}


def test_a_run_that_sent_nothing_has_no_jobs():
    assert efficiency.submitted("Finished jobid: 2 (Rule: train_model)\n", RULES) == {}


def test_a_job_that_went_back_to_the_queue_has_two_starts():
    lost, ended, starved = efficiency.read_starts(LISTING)
    assert (lost.state, ended.state, starved.state) == ("NODE_FAIL", "COMPLETED", "OUT_OF_MEMORY")
    assert ended.cpu_s == 25 * 3600 + 0.5
    assert ended.used_bytes == 2_000_000 * 1024
    assert starved.asked_bytes == 4000 * 2**20
    assert (ended.gpus, starved.gpus) == (1, 0)


def test_the_table_has_a_row_per_rule_the_longest_first():
    table = efficiency.table(efficiency.read_starts(LISTING), efficiency.submitted(LOG, RULES))
    assert table["rule"].tolist() == ["train_model", "tile_slide"]
    train, tile = table.to_dict("records")
    assert (train["jobs"], train["starts"], train["ended_badly"]) == (1, 2, 1)
    assert (train["hours"], train["gpu_hours"], train["longest_h"]) == (1.5, 1.5, 1.0)
    assert (tile["cpu_used"], tile["gpu_hours"]) == (0.5, 0)
    assert (tile["memory_asked_gb"], tile["memory_used_gb"]) == (4.19, 4.09)


@pytest.fixture
def sacct(tmp_path, monkeypatch):
    """Make `sacct` a script of its own, and return where to write it."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "sacct"


def test_the_table_is_written(sacct, tmp_path):
    sacct.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    sacct.chmod(0o755)
    (tmp_path / "log").write_text(LOG)
    efficiency.write_efficiency(tmp_path / "log", tmp_path / "efficiency.tsv", rules=RULES)
    assert (tmp_path / "efficiency.tsv").read_text().startswith("rule\tjobs\tstarts\t")


def test_accounting_that_does_not_answer_is_said_in_one_line(sacct, tmp_path):
    sacct.write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2; exit 1\n")
    sacct.chmod(0o755)
    (tmp_path / "log").write_text(LOG)
    with pytest.raises(InputError, match=r"sacct.*Slurm accounting storage is disabled; there is no table"):
        efficiency.write_efficiency(tmp_path / "log", tmp_path / "efficiency.tsv", rules=RULES)


def test_jobs_that_the_accounting_does_not_know_are_said_in_one_line(sacct, tmp_path):
    # Of an array there are rows that the log does not name.
    sacct.write_text("#!/bin/sh\necho '12_3|COMPLETED|60|00:01|60|1000M||cpu=1'\n")
    sacct.chmod(0o755)
    (tmp_path / "log").write_text(LOG)
    with pytest.raises(InputError, match="knows none of this run's 2 jobs"):
        efficiency.write_efficiency(tmp_path / "log", tmp_path / "efficiency.tsv", rules=RULES, patience_s=0)
