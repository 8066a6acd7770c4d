#!/bin/sh
# Compile requirements/*.txt from pyproject.toml: one set of versions for every image and every supported Python, with hashes,
# without index addresses.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
common="--universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet"
# shellcheck disable=SC2086
"$uv" pip compile pyproject.toml --extra dev $common "$@" -o requirements/dev.txt
for extra in serving envoy lifecycle operators operator loadtests; do
  case $extra in
    serving) more="--extra stream --extra s3" ;;  # the image also runs stream workers, and can anchor wherever a setting says
    operators) more="--extra stream --extra batch --extra s3" ;;  # every verb of the command line: topics, batch jobs, buckets
    *) more= ;;
  esac
  # shellcheck disable=SC2086
  "$uv" pip compile pyproject.toml --extra "$extra" $more -c requirements/dev.txt $common -o "requirements/$extra.txt"
done
awk '/^uv==/{on=1} on&&!/^uv==/&&!/--hash/{exit} on' requirements/dev.txt > requirements/uv.txt
# Servers that benchmarks compare with and tests ask, each in an environment of its own.
for peer in mlserver bentoml mlflow evidently nannyml dvc spark airflow; do
  # shellcheck disable=SC2086
  "$uv" pip compile "requirements/peers/$peer.in" $common -o "requirements/peers/$peer.txt"
done
