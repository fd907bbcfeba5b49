#!/bin/sh
# Creates .venv if it is missing, and installs the package (editable) into it with one or more dependency groups.
# Usage: scripts/setup-venv.sh GROUP...
set -eu
cd "$(dirname "$0")/.."

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: Python 3.11 or newer is needed; none of python3, python3.11, python3.12, python3.13 is" >&2
    return 1
}

if ! [ -x .venv/bin/python ]; then
    python=$(find_python)
    # On Debian, the part of venv that installs pip is a separate package.
    "$python" -c 'import ensurepip' 2>/dev/null || scripts/apt-install.sh python3-venv
    "$python" -m venv .venv
fi

groups=""
for group in "$@"; do
    groups="$groups --group $group"
done
echo "setup: installing napari-pyramid with:$(echo "$groups" | sed 's/--group//g')"

# uv takes seconds where pip takes minutes; pip is kept for machines whose index only pip's configuration knows.
export UV_SYSTEM_CERTS=1 # as pip does: many an institute's proxy signs with a certificate of its own
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet"
if { [ -x .venv/bin/uv ] || $pip uv; } && .venv/bin/uv pip install --quiet --python .venv/bin/python --editable . $groups; then
    exit 0
fi
echo "setup: uv did not manage; pip will" >&2
$pip --upgrade "pip>=25.1"
$pip --editable . $groups
