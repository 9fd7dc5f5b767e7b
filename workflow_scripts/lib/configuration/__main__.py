"""Print the page docs/configuration.md."""

from workflow_scripts.lib.configuration.reference import reference

print(reference(), end="")
