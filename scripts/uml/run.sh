#!/bin/sh
# Runs a command on a kernel of its own that has netem, whatever the host's kernel has: user-mode Linux (Debian package
# user-mode-linux), with this very file system as its root, root inside, the command's output and exit code as they are.
#
#   scripts/uml/run.sh tc qdisc add dev lo root netem delay 5ms
#   UML_MEM=1024M scripts/uml/run.sh ./q104 run scenarios/tiny.yaml
#
# UML_REALTIME=1 gives it the last processor before all others (root, two processors): its clock goes on while it waits for
# one, and every system call in it is a switch between two processes out here.
#
# Exit code 127: there is no user-mode Linux here; 126: it did not boot; 125: it ended before the command did.
kernel=$(command -v linux.uml) || {
  echo 'run.sh: linux.uml not found; get it: apt-get install user-mode-linux' >&2
  exit 127
}
here=$(cd "$(dirname "$0")" && pwd)
# Not where TMPDIR says: the guest has a /run and a /dev/shm of its own.
dir=$(mktemp -d /tmp/q104-uml-XXXXXX) || exit 126
trap 'rm -rf "$dir"' EXIT
uml=
trap 'kill -KILL $uml -$uml 2>/dev/null; exit 130' INT TERM HUP

quote() { printf "'%s' " "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }
{
  for name in PATH HOME LD_LIBRARY_PATH; do
    eval "value=\${$name-}"
    [ -n "$value" ] && printf 'export %s=%s\n' "$name" "$(quote "$value")"
  done
  printf 'cd %s || exit 126\n' "$(quote "$PWD")"
  for argument; do quote "$argument"; done
  echo
} >"$dir/command"

# The modules lie where the package has put them, installed or unpacked.
modules=$(dirname "$(dirname "$(readlink -f "$kernel")")")/lib/uml/modules
scheduled=
if [ "${UML_REALTIME:-}" = 1 ] && [ "$(nproc)" -gt 1 ] && chrt -f 1 true 2>/dev/null; then
  scheduled="chrt -f 1 taskset -c $(($(nproc) - 1))"
fi
# The kernel's processes out here outlive it when it is killed: as root they have a process namespace, which ends with it,
# else a session. Not a user namespace: in there the owners of the host's files are not those that the guest must see.
apart='setsid'
if unshare --pid --fork --kill-child true 2>/dev/null; then apart='unshare --pid --fork --kill-child'; fi
exec 3>&1 4>&2
# It keeps a file of its own in HOME. In the background, because a shell takes no signal while it waits for what is not.
# shellcheck disable=SC2086 # words, not one
HOME=$dir setpriv --pdeathsig KILL $scheduled $apart "$kernel" "mem=${UML_MEM:-768M}" root=/dev/root rootfstype=hostfs rootflags=/ rw quiet \
  "init=$here/init.sh" "q104_dir=$dir" "q104_modules=$modules" \
  con=null con1=null,fd:3 con2=null,fd:4 </dev/null >"$dir/kernel" 2>&1 &
uml=$!
wait $uml
[ -s "$dir/code" ] && exit "$(cat "$dir/code")"
if [ -e "$dir/booted" ]; then
  echo 'run.sh: user-mode Linux ended before the command did:' >&2
  code=125
else
  echo 'run.sh: user-mode Linux did not boot:' >&2
  code=126
fi
tail -5 "$dir/kernel" >&2
exit $code
