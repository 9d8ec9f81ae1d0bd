#!/usr/bin/env bash
# Resolves pyproject.toml (dev group and the extras that tests and examples use) into constraints.txt,
# for every Python and platform the project supports. Needs uv. Extra arguments go to uv, e.g. --upgrade.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$(command -v uv || echo .venv/bin/uv)

# No header, indexes or paths: the file has to read the same wherever it was made.
"$uv" pip compile pyproject.toml --group dev --extra cluster --extra cmaes --extra dashboard --extra docs --extra examples \
  --extra notebooks \
  --extra plots --extra postgresql --extra s3 \
  --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --quiet \
  --output-file constraints.txt "$@"
