#!/bin/sh
# Checks the system libraries that a napari window needs: OpenGL, Qt's X libraries, and Xvfb (a screen in memory).
# Sets up Debian and its derivatives only; elsewhere it prints what is missing.
# Usage: scripts/setup-system.sh [--have-display]   with a display Xvfb is not needed, and what is missing is only said
set -eu
here=$(dirname "$0")
have_display=${1:-}

[ "$(uname)" = Linux ] || exit 0
if ! command -v dpkg-query >/dev/null; then
    [ -n "$have_display" ] || command -v xvfb-run >/dev/null && exit 0
    echo "setup: install xvfb-run, xauth, Mesa's OpenGL and the xcb libraries of Qt 6 with this system's package manager" >&2
    exit 1
fi

libraries="libegl1 libgl1 libgl1-mesa-dri libglx-mesa0 libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0
    libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
    libxcb-xfixes0 libxcb-xkb1 libxcb-xinerama0"
if [ -n "$have_display" ]; then
    "$here/apt-install.sh" $libraries || echo "setup: going on; if no window opens, these are why" >&2
else
    exec "$here/apt-install.sh" xvfb xauth $libraries
fi
