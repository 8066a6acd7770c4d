#!/bin/sh
# Get Apache Kafka, a broker in KRaft mode for the tests of streams, as jars from Maven Central, into a cache outside the tree.
# Needs Maven and Java 17 or newer (Debian packages, installed if they are missing). Less than a minute, once.
#   sh tests/install_kafka.sh          get it if it is missing, print the folder
#   sh tests/install_kafka.sh --where  print the folder only
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/tools/kafka/pom.xml")
folder="${XDG_CACHE_HOME:-$HOME/.cache}/vedette/kafka-$version"
[ "${1:-}" != --where ] || { echo "$folder"; exit 0; }
skipped="the tests that need Kafka are skipped"
debian() { # PROGRAM PACKAGE: the package, where the program is missing
  command -v "$1" >/dev/null 2>&1 && return 0
  command -v apt-get >/dev/null 2>&1 || return 1
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  export DEBIAN_FRONTEND=noninteractive
  { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1
}
if ! debian java openjdk-17-jre-headless; then
  echo "kafka: no Java, and openjdk-17-jre-headless could not be installed; $skipped" >&2
  exit 0
fi
if [ ! -f "$folder/kafka-server-$version.jar" ] || [ ! -f "$folder/kafka_2.13-$version.jar" ]; then
  if ! debian mvn maven; then
    echo "kafka: no Maven, and it could not be installed; $skipped" >&2
    exit 0
  fi
  mkdir -p "$(dirname "$folder")"
  draft=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$draft"' EXIT
  if ! mvn -q -B -f "$here/tools/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$draft" >"$draft.log" 2>&1; then
    grep -m 3 ERROR "$draft.log" >&2 || true
    rm -f "$draft.log"
    echo "kafka: Maven could not get it, see above; $skipped" >&2
    exit 0
  fi
  rm -f "$draft.log"
  chmod 755 "$draft"
  rm -rf "$folder"
  mv "$draft" "$folder"
  trap - EXIT
fi
echo "$folder"
