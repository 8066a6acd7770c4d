#!/bin/sh
# Install the optional real servers and load generators that integration tests and benchmarks use, from Debian's packages.
# Without them the tests that need them are skipped with a plain reason.
set -eu
packages="redis-server wrk nghttp2-client prometheus prometheus-alertmanager rsyslog rsyslog-openssl mmdebstrap chromium fonts-dejavu-core"
missing=""
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "services: all here:$(printf ' %s' $packages)"
  exit 0
fi
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# Nothing is started by the installation: the tests start their own servers on free loopback ports.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee /usr/sbin/policy-rc.d >/dev/null
  $sudo chmod +x /usr/sbin/policy-rc.d
  trap '$sudo rm -f /usr/sbin/policy-rc.d' EXIT
fi
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing
echo "services: installed$missing"
