#!/usr/bin/env bash
# bare.sh: proves `make run` and `make test` on a bare Debian 12: debootstrap makes one in a folder of its own, with nothing but make
# and this machine's Rust in it; the files of HEAD go there, and both commands run in it. Needs root, debootstrap and the network;
# everything is gone afterwards. Its last line is `bare: both commands work`, or says which did not.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo 'bare: needs root, for chroot and mounts' >&2; exit 2; }
command -v debootstrap >/dev/null || { echo 'bare: needs debootstrap; apt-get install debootstrap' >&2; exit 2; }

# Mounts live in a namespace of this script: they vanish with it.
[ -n "${BARE_INSIDE:-}" ] || exec env BARE_INSIDE=1 unshare --mount --propagation private "$0" "$@"
root=$(mktemp -d)
cleanup() { umount -R "$root" 2>/dev/null || true; rm -rf --one-file-system "$root"; }
trap cleanup EXIT
mount -t tmpfs -o size=12g tmpfs "$root"  # a mount of its own, so that a network namespace can be made inside

debootstrap --variant=minbase --include=ca-certificates,make bookworm "$root" >"$root.log" 2>&1 || { cat "$root.log"; exit 1; }
rm -f "$root.log"
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp -r /etc/apt/apt.conf.d /etc/apt/sources.list.d "$root/etc/apt/"
cp -r /etc/ssl/certs "$root/etc/ssl/"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for home in "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}"; do
  mkdir -p "$root$home"
  mount --bind "$home" "$root$home"
done
mkdir "$root/confab"
git archive HEAD | tar -x -C "$root/confab"

jail=(chroot "$root" env -i HOME="$HOME" PATH="${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  ${CARGO_HOME:+CARGO_HOME="$CARGO_HOME"} ${RUSTUP_HOME:+RUSTUP_HOME="$RUSTUP_HOME"} make -C /confab)
"${jail[@]}" test || { echo 'bare: make test failed'; exit 1; }

# make run stays up when it has shown everything; its last line says how to end it. Its processes end with their namespace.
coproc run { exec unshare --pid --fork --kill-child "${jail[@]}" run 2>&1; }
running=$run_PID
shown=
while IFS= read -r -t 900 line <&"${run[0]}"; do
  printf '%s\n' "$line"
  case $line in Ctrl-C*) shown=yes; break ;; esac
done
kill -KILL "$running"  # unshare heeds no other signal; its children die with it
wait "$running" 2>/dev/null || true
[ -n "$shown" ] || { echo 'bare: make run did not show a conference'; exit 1; }
echo 'bare: both commands work'
