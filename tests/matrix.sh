#!/usr/bin/env bash
# The tests with the oldest and the newest torch that are supported, and on Python 3.12 where there is one.
# Each combination has an environment of its own, from requirements.in with another torch, in .venv-<name>.
set -euo pipefail
cd "$(dirname "$0")/.."

run_combination() {
    local python=$1 torch=$2 torchvision=$3
    local name="py$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')-torch$torch"
    echo "== $name with torchvision $torchvision"
    if [ ! -e ".venv-$name/.ready" ]; then
        "$python" -m venv --clear ".venv-$name"
        sed -E "s/^torch==.*/torch==$torch.*/; s/^torchvision==.*/torchvision==$torchvision.*/" envs/requirements.in \
            > ".venv-$name/requirements.in"
        ".venv-$name/bin/pip" install --quiet --requirement ".venv-$name/requirements.in"
        touch ".venv-$name/.ready"
    fi
    ".venv-$name/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q
}

run_combination "${PYTHON:-python3}" 2.11 0.26
run_combination "${PYTHON:-python3}" 2.12 0.27
if command -v python3.12 > /dev/null && python3.12 --version > /dev/null 2>&1; then
    run_combination python3.12 2.12 0.27
else
    echo "== no Python 3.12 here: not tried"
fi
