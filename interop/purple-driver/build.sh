#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh OUTPUT: builds purple-driver (what it needs: scripts/packages.txt)
set -eu
output=${1:?usage: $0 OUTPUT}
cd "$(dirname "$0")"
# shellcheck disable=SC2046  # pkg-config prints words
exec "${CC:-cc}" -std=gnu11 -O1 -g -Wall -Wextra -Wno-cast-function-type -Wno-deprecated-declarations \
  -o "$output" purple-driver.c $(pkg-config --cflags --libs purple gstreamer-1.0 glib-2.0 libxml-2.0) \
  -Wl,--export-dynamic-symbol=xmlSAXUserParseMemory -ldl -lm
