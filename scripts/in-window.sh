#!/bin/sh
# Runs a command with its own screen: an X server in memory, OpenGL in software, and default napari settings.
# Usage: scripts/in-window.sh COMMAND...
set -eu

[ "$(uname)" = Linux ] || exec "$@"
unset WAYLAND_DISPLAY
export LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb
exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24 +extension GLX +render -noreset" "$@"
