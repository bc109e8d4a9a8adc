#!/usr/bin/env bash
# setup.sh [GROUP...]: sees to the packages of these groups (all of them by default; scripts/packages.txt) and builds
# build/purple-driver. As root, or with passwordless sudo, it installs what is missing and says so; otherwise it prints the one
# line that would. Ends with 0 when everything is there, 3 when something is still missing.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- build database foreign

say() { printf 'setup: %s\n' "$*"; }
packages() { for group; do sed -n "s/^$group //p" scripts/packages.txt; done; }
installed() { [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = 'install ok installed' ]; }
missing_of() { for package in $(packages "$@"); do installed "$package" || printf '%s\n' "$package"; done; }

# A package of the build group is there, too, when what it is wanted for works: a compiler of one's own will do.
missing() {
  for group; do
    if [ "$group" = build ] && command -v cmake >/dev/null && echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null; then
      continue
    fi
    missing_of "$group"
  done
}

# Debian starts a daemon when its package is installed, unless policy-rc.d says no, and PostgreSQL makes itself a cluster: this
# machine may be somebody's own. Both are told otherwise for as long as it takes.
install() {
  local policy=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.d as=() added=() status=0
  [ "$(id -u)" = 0 ] || as=(sudo -n)
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as[@]}" tee $policy >/dev/null
    "${as[@]}" chmod +x $policy
    added+=($policy)
  fi
  if [[ " $* " = *' postgresql '* ]]; then
    "${as[@]}" mkdir -p $clusters
    echo 'create_main_cluster = false' | "${as[@]}" tee $clusters/confab.conf >/dev/null
    added+=($clusters/confab.conf)
  fi
  "${as[@]}" apt-get update -q -o APT::Update::Error-Mode=any >/dev/null || status=$?
  [ $status -ne 0 ] || "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" || status=$?
  [ ${#added[@]} -eq 0 ] || "${as[@]}" rm -f "${added[@]}"
  [ ! -d $clusters ] || "${as[@]}" rmdir --ignore-fail-on-non-empty $clusters
  return $status
}

if command -v dpkg-query >/dev/null; then
  mapfile -t absent < <(missing "$@")
  if [ ${#absent[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
      say "installing ${absent[*]}"
      install "${absent[@]}" || say 'apt-get did not succeed'
      mapfile -t absent < <(missing "$@")
    fi
    if [ ${#absent[@]} -gt 0 ]; then
      say 'missing; as root: apt-get install -y --no-install-recommends' "${absent[@]}"
    fi
  fi
else
  say "this is no Debian; what is needed has these names there: $(packages "$@" | tr '\n' ' ')"
  absent=()
fi

driver=build/purple-driver source=interop/purple-driver
if [[ " $* " = *' foreign '* ]] && { [ ! -x $driver ] || [ $source/purple-driver.c -nt $driver ]; }; then
  mkdir -p build
  if pkg-config --exists purple gstreamer-1.0 libxml-2.0 2>/dev/null && $source/build.sh "$PWD/$driver.new"; then
    mv $driver.new $driver
    say "built $driver"
  else
    say "$driver cannot be built here"
    absent+=("$driver")
  fi
fi
[ ${#absent[@]} -eq 0 ] || exit 3
