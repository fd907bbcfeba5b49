#!/bin/sh
# Unpacks Debian's nginx into build/nginx for the tests, without installing it: an installed one would serve port 80.
# Where there is no apt, or no network, the tests of nginx are skipped, unless nginx is installed.
set -eu
cd "$(dirname "$0")/.."

command -v nginx >/dev/null || [ -x build/nginx/usr/sbin/nginx ] && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || exit 0
mkdir -p build/nginx
cd build/nginx
apt-get -qq download nginx 2>/dev/null || { apt-get -qq update && apt-get -qq download nginx; } 2>/dev/null || true
for package in nginx_*.deb; do
    [ -f "$package" ] && dpkg-deb --extract "$package" . && rm "$package"
done
[ -x usr/sbin/nginx ] || echo "setup: Debian's nginx cannot be downloaded; the tests of it are skipped" >&2
