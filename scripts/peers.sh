#!/bin/sh
# Install the programs that tests and bench use and this machine lacks. Needs root and apt; without them, or when apt
# fails, it says so and the tests that need a missing program skip with the reason.
set -u

# what to look for (a program, or a path) : the Debian package that has it
wanted="
curl:curl  wget:wget  openssl:openssl  haproxy:haproxy  nginx:nginx-light  wrk:wrk  iperf3:iperf3  socat:socat
chromium:chromium  ip:iproute2  ps:procps  git:git  squid:squid-openssl  tinyproxy:tinyproxy-bin
stunnel4:stunnel4  hitch:hitch  rsync:rsync  nft:nftables  htpasswd:apache2-utils  traffic_server:trafficserver
ovs-vswitchd:openvswitch-switch  kubectl:kubernetes-client
/usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
"
# the C extension is optional, but continuous integration tests it too
[ -z "${CI:-}" ] || wanted="$wanted cc:gcc /usr/include/stdio.h:libc6-dev python3-config:python3-dev"

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=
for pair in $wanted; do
    case $pair in
        /*) [ -e "${pair%%:*}" ] ;;
        *) command -v "${pair%%:*}" >/dev/null ;;
    esac || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, and no root or no apt here to do it:$missing (their tests skip)"
    exit 0
fi

echo "installing$missing"
# packages start their services when they are installed; nobody asked for a second haproxy on this machine
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # several packages
apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null ||
    echo "apt-get could not install all of:$missing (their tests skip)" >&2
