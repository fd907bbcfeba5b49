#!/bin/sh
# Puts Azurite, Microsoft's emulator of Azure's storage, into build/azurite for the tests, from npm.
# Where there is no npm, or no network, the tests of it are skipped, unless Azurite is installed.
set -eu
cd "$(dirname "$0")/.."

command -v azurite-blob >/dev/null || [ -x build/azurite/node_modules/.bin/azurite-blob ] && exit 0
command -v npm >/dev/null || exit 0
mkdir -p build/azurite
npm install --silent --no-audit --no-fund --prefix build/azurite azurite@3 >/dev/null 2>&1 ||
    echo "setup: Azurite cannot be fetched from npm; the tests of it are skipped" >&2
