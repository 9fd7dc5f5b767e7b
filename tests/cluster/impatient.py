"""Snakemake, asking SLURM every second how its jobs are: `python tests/cluster/impatient.py --profile slurm …`.

For tests only. The executor waits ten seconds longer after each question in which no job had ended, up to three
minutes. That is right for jobs of hours, makes a test of jobs of seconds take minutes, and no option turns it off. So
the property in which it keeps the next wait is replaced by one that forgets what is written to it. The first wait, and
the wait between questions, are set by Snakemake's own options, which stand in `IMPATIENT`.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

IMPATIENT = ("--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1")


def ask_every_second() -> None:
    """Make executors keep to `--seconds-between-status-checks`."""
    configured = property(lambda self: self.workflow.remote_execution_settings.seconds_between_status_checks)
    RemoteExecutor.next_seconds_between_status_checks = configured.setter(lambda self, value: None)


if __name__ == "__main__":
    ask_every_second()
    main([*sys.argv[1:], *IMPATIENT])
