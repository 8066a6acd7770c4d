#!/bin/sh
# Print the version and the path of the Python that .venv is made with: the one that is named, else the one that .venv has,
# else the newest on PATH that works. A name on PATH proves nothing: a version manager leaves names that run no Python, and
# Debian's Python makes no environment before python3-venv is installed.
#   sh requirements/python.sh [PYTHON]
set -u
asked='import sys, ctypes, ensurepip, sqlite3, ssl, venv
if not (3, 11) <= sys.version_info < (3, 14): sys.exit(1)
print("%d.%d" % sys.version_info[:2], sys._base_executable or sys.executable)'

tell() { answer=$("$1" -c "$asked" 2>/dev/null) && echo "$answer"; }

if [ -n "${1:-}" ]; then
  tell "$1" && exit
  echo "PYTHON=$1 is not usable: it must be a CPython 3.11, 3.12 or 3.13 with venv and ensurepip" >&2
  exit 1
fi
made_with=$(sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null)
for python in "${made_with:-python3.13}" python3.13 python3.12 python3.11 python3; do
  tell "$python" && exit
done
echo "no usable Python on PATH: install Python 3.11, 3.12 or 3.13 with venv and ensurepip, or name one: make PYTHON=/path/to/python3.13" >&2
exit 1
