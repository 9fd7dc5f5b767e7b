"""The cluster itself: what the tests of the workflow on it take for granted."""

import subprocess
from pathlib import Path

import cluster
import pytest
from jobs import ask, end_of, snakemake, state_of, submit, wait_for

DEVICE = "echo $SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES-none}"
# A job that tells of each signal, and does not end of itself.
LISTENING = """
trap 'echo USR1' USR1
trap 'echo TERM; exit 1' TERM
echo started
while true; do sleep 0.2; done"""
WORKFLOW = """
rule all:
    input: "gpu.txt"

rule on_cpu:
    output: "cpu.txt"
    shell: "echo $SLURMD_NODENAME ${{CUDA_VISIBLE_DEVICES-none}} > {output}"

rule on_gpu:
    input: "cpu.txt"
    output: "gpu.txt"
    resources: gpu=1, slurm_partition="gpu"
    shell: "echo $SLURMD_NODENAME ${{CUDA_VISIBLE_DEVICES-none}} > {output}"
"""


def output_of(job: str, folder: Path) -> list[str]:
    path = folder / f"{job}.out"
    return path.read_text().split() if path.is_file() else []


def wait_for_word(word: str, job: str, folder: Path, seconds: float = 30) -> None:
    cluster.wait_until(lambda: word in output_of(job, folder), seconds, f"job {job} does not say {word!r}")


@pytest.fixture(scope="module", autouse=True)
def job_at_its_limit(running_cluster, tmp_path_factory) -> tuple[str, Path]:
    """A job whose limit passes while the other tests run, and where it writes. SLURM looks at limits twice a minute."""
    folder = tmp_path_factory.mktemp("limit")
    job = submit(LISTENING, folder, "--time=1", "--signal=B:USR1@5")
    wait_for(job, "RUNNING")
    ask("scontrol", "update", f"job={job}", "EndTime=now+35")
    return job, folder


def test_a_gpu_job_sees_its_device_and_runs_where_there_is_one(tmp_path):
    job = submit(DEVICE, tmp_path, "--partition=gpu", "--gpus=1")
    wait_for(job, "COMPLETED")
    node, device = output_of(job, tmp_path)
    assert node in cluster.GPU_NODES
    assert device == "0"


def test_a_cpu_job_sees_no_device_even_where_there_is_one(tmp_path):
    job = submit(DEVICE, tmp_path, "--partition=cpu", "--nodelist=n2")
    wait_for(job, "COMPLETED")
    assert output_of(job, tmp_path) == ["n2", "none"]


def test_a_job_over_its_memory_is_killed(tmp_path):
    job = submit("python3 -c 'x = bytearray(400 * 2**20); import time; time.sleep(60)'", tmp_path)
    # Without cgroups, the poll that kills it gives no reason.
    with_cgroups = "proctrack/cgroup" in ask("scontrol", "show", "config")
    assert end_of(job) == ("OUT_OF_MEMORY" if with_cgroups else "FAILED")


def test_a_cancelled_job_is_seen_as_cancelled(tmp_path):
    job = submit(LISTENING, tmp_path)
    wait_for_word("started", job, tmp_path)
    ask("scancel", job)
    assert end_of(job) == "CANCELLED"


def test_an_urgent_job_takes_a_gpu_and_the_other_job_goes_back_to_the_queue(tmp_path):
    lesser = submit(LISTENING, tmp_path, "--partition=gpu", "--gpus=1", "--nodelist=n2")
    wait_for_word("started", lesser, tmp_path)
    urgent = submit(DEVICE, tmp_path, "--partition=urgent", "--gpus=1", "--nodelist=n2")
    wait_for(urgent, "COMPLETED")
    assert output_of(urgent, tmp_path) == ["n2", "0"]
    assert state_of(lesser) == "PENDING"
    assert ask("squeue", "--noheader", f"--jobs={lesser}", "--Format=RestartCnt") == "1"
    ask("scancel", lesser)


def test_a_job_whose_node_loses_power_comes_back_under_its_id(tmp_path):
    job = submit(LISTENING.replace("started", "$SLURMD_NODENAME"), tmp_path, "--partition=gpu", "--gpus=1")
    cluster.wait_until(lambda: output_of(job, tmp_path), 30, f"job {job} does not start")
    (lost,) = output_of(job, tmp_path)
    cluster.switch_off(lost)
    (other,) = set(cluster.GPU_NODES) - {lost}
    wait_for_word(other, job, tmp_path, seconds=60)
    assert state_of(job) == "RUNNING"
    ask("scancel", job)
    cluster.switch_on(lost)
    again = submit(DEVICE, tmp_path, f"--nodelist={lost}")
    wait_for(again, "COMPLETED")


def test_snakemake_runs_its_jobs_with_and_without_a_gpu(tmp_path):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    run = subprocess.run(
        snakemake(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout
    assert (tmp_path / "cpu.txt").read_text().split()[1] == "none"
    node, device = (tmp_path / "gpu.txt").read_text().split()
    assert node in cluster.GPU_NODES
    assert device == "0"


def test_a_job_at_its_time_limit_is_warned_as_it_asked_and_then_ended(job_at_its_limit):
    job, folder = job_at_its_limit
    wait_for(job, "TIMEOUT", seconds=90)
    assert output_of(job, folder)[:2] == ["started", "USR1"]
