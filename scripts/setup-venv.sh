#!/usr/bin/env bash
# Creates or completes .venv with exactly the versions of constraints.txt, and this project in editable mode.
# Uses uv where it is there or can be had, else venv and pip. Called by make; safe to call again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
is_new_enough() { "$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if is_new_enough "$name"; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

create_environment() {
  local python
  say "setting up .venv (a minute or two the first time)"
  rm -rf .venv
  if python=$(find_python); then
    if command -v uv >/dev/null 2>&1; then
      uv venv --quiet --python "$python" .venv
    elif ! "$python" -m venv .venv; then
      say "$python cannot make a virtual environment. Install uv, or on Debian the package python3-venv."
      exit 1
    fi
  elif command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python '>=3.11' .venv # uv fetches a Python when none is new enough
  else
    say "Python 3.11 or newer is needed and none was found. Install python3.11 or uv, or set PYTHON=/path/to/python."
    exit 1
  fi
}

find_uv() {
  if command -v uv >/dev/null 2>&1; then
    command -v uv
  elif [[ -x .venv/bin/uv ]]; then
    printf '%s\n' .venv/bin/uv
  elif .venv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2; then
    printf '%s\n' .venv/bin/uv
  else
    return 1
  fi
}

is_new_enough .venv/bin/python || create_environment

if uv=$(find_uv); then
  # Compiled here, once: where PYTHONDONTWRITEBYTECODE is set, every process would compile all it imports anew.
  "$uv" pip install --quiet --compile-bytecode --python .venv/bin/python --requirement constraints.txt
  "$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
  "$uv" pip check --quiet --python .venv/bin/python
else
  say "uv could not be installed; pip takes its place (slower)."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement constraints.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
  .venv/bin/python -m pip check --disable-pip-version-check
fi
.venv/bin/python -m compileall -q hpo_pipelines search_spaces
say "ready: .venv ($(.venv/bin/python --version), $(wc -l <constraints.txt) pinned packages)"
