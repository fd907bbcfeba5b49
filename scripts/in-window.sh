#!/bin/sh
# Runs a command with a screen of its own: a real X server in memory, OpenGL drawn in software, napari settings of nobody.
# Usage: scripts/in-window.sh COMMAND...
set -eu

[ "$(uname)" = Linux ] || exec "$@"
unset WAYLAND_DISPLAY
export LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb
exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24 +extension GLX +render -noreset" "$@"
