"""A SLURM cluster on this machine, for tests: three virtual nodes, two with a GPU, and accounting.

    python3 tests/cluster/cluster.py up          a new cluster, whatever was there before
    python3 tests/cluster/cluster.py off n2      cut a node's power
    python3 tests/cluster/cluster.py on n2       switch it on again
    python3 tests/cluster/cluster.py down        end it, and remove all that it wrote

It needs root on Debian 12, and installs Debian's packages where they are missing. Nothing here knows the workflow.

Each daemon and each node is a *machine*: a namespace of processes, which all die with its first one. So a power cut
takes a node's jobs with it, and nothing outlives the cluster. A machine is found by the name of that process, not by a
file, so that a cluster whose owner was killed is found too.

All that is written lies in `FOLDER`, but for the lock beside it, the nodes' cgroups, and the links in /etc/slurm, where
the clients look: the executor's job steps drop SLURM_CONF, so there can be one cluster at a time.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FOLDER = Path("/var/lib/histocarta_cluster")
LOGS = FOLDER / "log"
# How much longer what is waited for may take, where cores are shared.
LATITUDE = 5
LOCK = Path("/var/lib/histocarta_cluster.lock")
CONFIGURATION = Path(__file__).parent / "etc"
# What the clients read; the limits are included from there.
FILES = ("slurm.conf", "slurmdbd.conf", "gres.conf", "cgroup.conf")
LINKS = [Path("/etc/slurm") / name for name in FILES]
CGROUPS = Path("/sys/fs/cgroup")
NODES = ("n1", "n2", "n3")
GPU_NODES = ("n2", "n3")
ACCOUNT = "test"
# The cores of MariaDB's packages: the server without its service.
PACKAGES = (
    *("slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge"),
    *("mariadb-server-core", "mariadb-client-core"),
)

MUNGE = f"--socket={FOLDER}/run/munge.socket"
DATABASE = f"--socket={FOLDER}/run/mariadb.socket"
DAEMONS = {
    "munged": f"""exec munged --foreground --force {MUNGE} --key-file={FOLDER}/munge.key
        --pid-file={FOLDER}/run/munged.pid --seed-file={FOLDER}/munge.seed""",
    "mariadbd": f"""exec mariadbd --no-defaults --user=root --skip-networking {DATABASE} --datadir={FOLDER}/mariadb
        --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0""",
    # The database's library has no other way to learn of a socket that is not Debian's.
    "slurmdbd": f"MYSQL_UNIX_PORT={FOLDER}/run/mariadb.socket exec slurmdbd -D",
    "slurmctld": "exec slurmctld -D",
}
NAMESPACE = ("unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc", "--uts")
# A node has its own name. Its first process collects the processes that lost their parent, as an init does.
NODE = f"hostname {{node}} && mount --bind {FOLDER}/hosts /etc/hosts && slurmd -D -N {{node}} & wait"


class ImpossibleError(Exception):
    """There can be no cluster on this machine; the message says why."""


class ClusterError(Exception):
    """The cluster does not do what it should; the message says what, and where the logs are."""


@contextlib.contextmanager
def claimed(seconds: float = 60) -> Iterator[None]:
    """Hold the only place that a machine has for a cluster; a claim ends with the process that made it."""
    check_machine()
    with open(LOCK, "w") as lock:

        def free() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        wait_until(free, seconds, f"another run has the cluster ({LOCK} is locked)")
        yield


def check_machine() -> None:
    """Raise `ImpossibleError` unless this machine can have a cluster, packages aside."""
    if os.geteuid() != 0:
        raise ImpossibleError("a SLURM cluster for tests needs root")
    system = Path("/etc/os-release").read_text() if Path("/etc/os-release").is_file() else ""
    if "ID=debian\n" not in system or 'VERSION_ID="12"' not in system:
        raise ImpossibleError("a SLURM cluster for tests needs Debian 12")
    for link in LINKS:
        if os.path.lexists(link) and FOLDER not in link.resolve().parents:
            raise ImpossibleError(f"this machine has a SLURM of its own ({link})")
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, timeout=10).returncode != 0:
        raise ImpossibleError("this container may not make namespaces of processes (unshare --pid)")


def install_packages() -> None:
    """Install what is missing of `PACKAGES`; raise `ImpossibleError` where they cannot be had."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\n", *PACKAGES]
    states = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.split()
    if states == ["installed"] * len(PACKAGES):
        return
    apt = ["apt-get", "--quiet", "--yes", "--option=DPkg::Lock::Timeout=60", "--option=Acquire::Retries=1"]
    for command in (
        # After an installation that was killed.
        ["dpkg", "--configure", "-a"],
        [*apt, "update"],
        [*apt, "install", "--no-install-recommends", *PACKAGES],
    ):
        done = subprocess.run(
            ["timeout", "300", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            found = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise ImpossibleError(f"SLURM's packages cannot be installed here ({command[0]}: {found})")


def up() -> None:
    """Start a cluster with no jobs and no past, in the place of one that may be there. The caller has claimed it."""
    install_packages()
    down()
    try:
        _bring_up()
    except BaseException:
        # What was written stays, for the logs.
        _end(*DAEMONS, *NODES)
        raise


def _bring_up() -> None:
    for folder in ("etc", "run", "log", "slurmctld", *NODES):
        (FOLDER / folder).mkdir(parents=True)
    (FOLDER / "hosts").write_text(f"127.0.0.1 localhost {' '.join(NODES)}\n")
    os.mknod(FOLDER / "gpu0", 0o666 | stat.S_IFCHR, os.makedev(240, 0))
    (FOLDER / "munge.key").touch(mode=0o600)
    (FOLDER / "munge.key").write_bytes(os.urandom(128))
    limits = "limits_by_cgroup.conf" if _has_cgroups() else "limits_by_polling.conf"
    for name, source in (*((name, name) for name in FILES), ("limits.conf", limits)):
        shutil.copyfile(CONFIGURATION / source, FOLDER / "etc" / name)
    # It refuses to start with any other.
    (FOLDER / "etc/slurmdbd.conf").chmod(0o600)
    for link in LINKS:
        link.symlink_to(FOLDER / "etc" / link.name)

    _start("munged", DAEMONS["munged"])
    _run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={FOLDER}/mariadb", "--skip-test-db",
         "--auth-root-authentication-method=normal")  # fmt: skip
    _start("mariadbd", DAEMONS["mariadbd"])
    wait_until(lambda: _succeeds("munge", "--no-input", MUNGE), 10, "munged does not answer")
    query = ("mariadb", "--no-defaults", DATABASE, "--execute=select 1")
    wait_until(lambda: _succeeds(*query), 30, "mariadbd does not answer")
    _start("slurmdbd", DAEMONS["slurmdbd"])
    wait_until(lambda: _succeeds("sacctmgr", "--noheader", "list", "cluster"), 30, "slurmdbd does not answer")
    for entry in (("cluster", "histocarta"), ("account", ACCOUNT), ("user", "root", f"account={ACCOUNT}")):
        _run("sacctmgr", "--immediate", "--quiet", "add", *entry)
    _start("slurmctld", DAEMONS["slurmctld"])
    wait_until(lambda: _succeeds("scontrol", "ping"), 30, "slurmctld does not answer")
    switch_on(*NODES)


def down() -> None:
    """End whatever cluster there is, and remove what it wrote. The packages stay."""
    _end(*DAEMONS, *NODES)
    for link in LINKS:
        link.unlink(missing_ok=True)
    for top in (top for node in NODES for top in CGROUPS.glob(f"*/slurm_{node}")):
        for folder in sorted((path for path in (top, *top.rglob("*")) if path.is_dir()), reverse=True):
            # One that the kernel still holds does no harm.
            with contextlib.suppress(OSError):
                folder.rmdir()
    shutil.rmtree(FOLDER, ignore_errors=True)


def switch_off(*nodes: str) -> None:
    """Cut the power of nodes: all that runs there is gone at once, and nobody is told."""
    _end(*nodes)


def switch_on(*nodes: str) -> None:
    """Start nodes, and wait until SLURM gives them work again."""
    before = {node: _started(node) for node in nodes}
    for node in nodes:
        _start(node, NODE.format(node=node))
    for node in nodes:
        wait_until(lambda node=node: _started(node) not in (None, before[node]), 30, f"node {node} does not register")


def wait_until(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Wait until a condition holds; raise `ClusterError` with the complaint when that takes too many seconds.

    seconds: on an idle machine; one that has other tests to run beside gets LATITUDE times as many.
    """
    seconds *= LATITUDE
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"{complaint}, after {seconds:.0f} s; the logs are in {LOGS}")
        time.sleep(0.1)


def _start(machine: str, script: str) -> None:
    """Start a machine that runs a script of bash, in one line; it outlives this process."""
    if _processes(machine):
        raise ClusterError(f"{machine} is running already")
    named = ["setsid", "--fork", "bash", "-c", 'exec -a "$0" "$@"', _title(machine), *NAMESPACE]
    with open(LOGS / f"{machine}.log", "a") as log:
        subprocess.run(
            [*named, "bash", "-c", " ".join(script.split())],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            timeout=10,
        )


def _end(*machines: str) -> None:
    """End machines that run, and wait until their processes are gone."""
    ended = []
    for pid in [pid for machine in machines for pid in _processes(machine)]:
        with contextlib.suppress(FileNotFoundError):
            ended += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        ended.append(pid)
    for pid in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(_command_line(pid) for pid in ended), 30, f"processes {ended} do not end")


def _processes(machine: str) -> list[int]:
    """The outermost process of a machine, if it runs."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _command_line(pid)[:1] == [_title(machine)]]


def _title(machine: str) -> str:
    return f"histocarta-cluster-{machine}"


def _command_line(pid: int) -> list[str]:
    """A process's command line; empty when it has ended, even if its parent has not noticed."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _started(node: str) -> str | None:
    """When a node that can work registered last, as SLURM writes it."""
    fields = dict(field.split("=", 1) for field in _run("scontrol", "show", "node", node).split() if "=" in field)
    state, *flags = fields["State"].split("+")
    if state not in ("IDLE", "MIXED", "ALLOCATED") or "NOT_RESPONDING" in flags or fields["SlurmdStartTime"] == "None":
        return None
    return fields["SlurmdStartTime"]


def _run(*command: str) -> str:
    """What a command prints; `ClusterError` when it fails, or does not end within a minute."""
    bounded = ["timeout", "60", *command]
    null, pipe, joined = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(bounded, stdin=null, stdout=pipe, stderr=joined, text=True)
    if done.returncode != 0:
        found = done.stdout.strip()[-300:] or f"exit status {done.returncode}"
        raise ClusterError(f"{' '.join(command)}: {found}; the logs are in {LOGS}")
    return done.stdout


def _has_cgroups() -> bool:
    """Whether the nodes can make cgroups of version 1."""
    return all(os.access(CGROUPS / controller, os.W_OK) for controller in ("memory", "devices", "freezer"))


def _succeeds(*command: str) -> bool:
    with contextlib.suppress(ClusterError):
        _run(*command)
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description="A SLURM cluster on this machine, for tests.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="start a new cluster")
    actions.add_parser("down", help="end it, and remove what it wrote")
    for name, what in (("off", "cut the power of nodes"), ("on", "switch nodes on")):
        actions.add_parser(name, help=what).add_argument("nodes", nargs="+", choices=NODES)
    asked = parser.parse_args()
    try:
        if asked.action in ("off", "on"):
            {"off": switch_off, "on": switch_on}[asked.action](*asked.nodes)
            return
        with claimed():
            {"up": up, "down": down}[asked.action]()
    except (ImpossibleError, ClusterError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
