#!/bin/sh
# Does the project work where nothing is installed? Makes a minimal Debian 12 with only python3 and make in a temporary
# folder, copies the committed tree into it, and runs `make demo` and `make test` there. Root only; needs debootstrap.
#
#   sh scripts/check-bare.sh [--bind PATH]... [--copy PATH]... [--user] [--keep] [MAKE-TARGET]...
#
#   --bind PATH   show this file or folder of the machine at the same place inside, read-only (a local package index)
#   --copy PATH   copy it there instead (apt settings)
#   --user        run as nobody instead of root: no apt, so no peers, and pip comes from the package index
#   --keep        leave the tree in place and say where it is
#
# Proxy, pip and certificate settings of the environment hold inside as well. DEBIAN_MIRROR names another mirror,
# BARE_CACHE a folder that keeps the downloaded packages for the next time.
set -eu

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "check-bare: root only" >&2; exit 2; }
    command -v debootstrap >/dev/null || { echo "check-bare: debootstrap is not installed" >&2; exit 2; }
    cd "$(dirname "$0")/.."
    root=$(mktemp -d "${TMPDIR:-/tmp}/bare.XXXXXX")
    chmod 755 "$root"
    keep=
    for argument; do [ "$argument" != --keep ] || keep=yes; done
    # Mounts and processes live in namespaces of their own and end with them, however that happens: nothing is left
    # mounted under the folder when it is removed.
    status=0
    unshare --mount --pid --fork --kill-child sh scripts/check-bare.sh --inside "$root" "$@" || status=$?
    if [ -n "$keep" ]; then echo "check-bare: kept $root"; else rm -rf --one-file-system "$root"; fi
    exit $status
fi

root=$2
shift 2
binds= copies= user=root targets=
while [ $# -gt 0 ]; do
    case $1 in
        --bind) binds="$binds $2"; shift ;;
        --copy) copies="$copies $2"; shift ;;
        --user) user=nobody ;;
        --keep) ;;
        -*) echo "check-bare: no option $1" >&2; exit 2 ;;
        *) targets="$targets $1" ;;
    esac
    shift
done

echo "check-bare: Debian 12 with python3 and make in $root"
debootstrap --variant=minbase --include=python3,make ${BARE_CACHE:+--cache-dir="$BARE_CACHE"} \
    bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"

mount --bind "$root" "$root"  # so that what runs inside finds its root to be a mount point, as on a machine of its own
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
for path in $binds; do
    mkdir -p "$root$(dirname "$path")"
    if [ -d "$path" ]; then mkdir -p "$root$path"; else : >"$root$path"; fi
    mount --bind -o ro "$path" "$root$path"
done
for path in $copies; do
    mkdir -p "$root$(dirname "$path")"
    cp -a "$path" "$root$path"
done
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

mkdir -p "$root/srv/ferryman"
git archive HEAD | tar -x -C "$root/srv/ferryman"
chown -R "$user" "$root/srv/ferryman"

# The environment starts empty but for what leads to the registries. A certificate bundle that pip and ssl are told of
# goes to a place that the ca-certificates package does not write to.
set -- PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp/home LANG=C.UTF-8
bundle=${SSL_CERT_FILE:-${PIP_CERT:-}}
if [ -n "$bundle" ]; then
    cp -L "$bundle" "$root/srv/ca.pem"
    set -- "$@" SSL_CERT_FILE=/srv/ca.pem PIP_CERT=/srv/ca.pem
fi
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\|[A-Za-z]*_proxy\|[A-Z]*_PROXY\|CI\)=.*/\1/p' | grep -v '^PIP_CERT$'); do
    value=$(printenv "$name")
    case $value in /*) [ -e "$root$value" ] || continue ;; esac  # a path that is not to be seen inside
    set -- "$@" "$name=$value"
done

for target in ${targets:-demo test}; do
    echo "check-bare: make $target, as $user"
    chroot --userspec="$user" "$root" env -i "$@" sh -c "mkdir -p \$HOME && cd /srv/ferryman && make $target" ||
        { echo "check-bare: make $target FAILED" >&2; exit 1; }
done
echo "check-bare: all well"
