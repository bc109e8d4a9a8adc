#!/usr/bin/env bash
# bench.sh [NAME]: measures how fast Confab is, and how much memory it takes, and prints it as tables. Without a name all of it,
# which takes some minutes once it is built; what the figures mean is in docs/performance.md. Names:
#   messages documents focus                      one part alone, without a server
#   mixer transport                               the media of conferences, without sockets
#   dialogs telling scheduling joining memory     a whole server
#   media [PART...]                               sound, beside a bare mixer and Janus (scripts/bench-media.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

measure() { cargo bench --quiet -p "$1" --bench "$2" -- "${@:3}"; }

printf '%s, %s processors, %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(rustc --version)"
case ${1:-} in
  '')
    measure confab-sip messages
    measure confab-schema documents
    measure confab-conference focus
    measure confab-media mixer
    measure confab-media transport
    measure confab-sim server
    scripts/bench-media.sh
    ;;
  messages) measure confab-sip messages ;;
  documents) measure confab-schema documents ;;
  focus) measure confab-conference focus ;;
  mixer | transport) measure confab-media "$1" ;;
  dialogs | telling | scheduling | joining | memory) measure confab-sim server "$1" ;;
  media) scripts/bench-media.sh "${@:2}" ;;
  *)
    sed -n 's/^# \?//p' "$0" | tail -n +2 >&2
    exit 2
    ;;
esac
