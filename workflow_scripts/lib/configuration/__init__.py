"""The configuration: what a study is, typed and closed.

Each key is described in its section with the place in the paper that fixes it (Levy-Jurgenson et al. 2020, "molecular
cartography", where no other source is named). `config.yaml` holds the same values as the defaults there; a test fails
when the two, or the page that is generated from the descriptions, drift apart.
"""

from workflow_scripts.lib.configuration.whole import Configuration, load

__all__ = ["Configuration", "load"]
