#!/usr/bin/env bash
# in-namespace.sh COMMAND...: runs COMMAND in a network of its own: lo, a veth pair with documentation addresses (198.51.100.1 and
# 198.51.100.2, and 2001:db8::1), its own resolv.conf (nameserver 198.51.100.1), HOME, XDG directories and, when dbus-run-session
# is there, D-Bus session. No packet leaves the machine. Needs root or unprivileged user namespaces (util-linux, iproute2).
set -eu
ulimit -n "$(ulimit -H -n)" # a server that many connect to must be able to hold them
PATH=$PATH:/usr/sbin:/sbin # ip and dnsmasq live there, and a plain user's PATH has neither
[ $# -gt 0 ] || { echo "usage: $0 COMMAND..." >&2; exit 2; }
if [ -z "${IN_NAMESPACE:-}" ]; then
  user=(); [ "$(id -u)" = 0 ] || user=(--user --map-root-user) # root keeps its groups
  exec env IN_NAMESPACE=1 unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
unset IN_NAMESPACE
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
ip link set lo up
ip link add near type veth peer name far
ip addr add 198.51.100.1/24 dev near; ip addr add 198.51.100.2/24 dev far
ip -6 addr add 2001:db8::1/64 dev near nodad 2>/dev/null || true # a kernel without IPv6 is no reason to stop
ip link set near up; ip link set far up
ip route add default via 198.51.100.1 dev near 2>/dev/null || true
printf 'nameserver 198.51.100.1\noptions timeout:1 attempts:1\n' > "$scratch/resolv.conf"; mount --bind "$scratch/resolv.conf" /etc/resolv.conf
mkdir -m 700 "$scratch/home" "$scratch/run"
export PATH HOME="$scratch/home" XDG_RUNTIME_DIR="$scratch/run" XDG_CONFIG_HOME="$scratch/home/.config" XDG_CACHE_HOME="$scratch/home/.cache"
unset DBUS_SESSION_BUS_ADDRESS http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
if command -v dbus-run-session >/dev/null; then dbus-run-session -- "$@"; else "$@"; fi
