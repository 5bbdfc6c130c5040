#!/usr/bin/env bash
# The two partial installs, each in a fresh environment: what they bring, what they must not, and that they work.
# Takes minutes and downloads; run by `make installs`, not by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install() { # extra, package that must be absent
  "$python" -m venv "$work/$1"
  "$work/$1/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt ".[$1]"
  if "$work/$1/bin/python" -c "import $2" 2>/dev/null; then echo "[$1] pulled $2" >&2; exit 1; fi
  echo "[$1] installed without $2: $(du -sh "$work/$1" | cut -f1)"
}

install factory torch
install brain ray
cd "$work" # away from the checkout: only what was installed counts
factory/bin/factory collect --workers 2 --frames 9000 --max-episode-steps 100 --store store --quiet
brain/bin/brain train --store store --run run --steps 30 --quiet
message=$(factory/bin/brain train --store store 2>&1) && { echo "brain ran without torch?" >&2; exit 1; }
echo "$message" | grep -q "pip install 'tinyjepa\[brain\]'"
echo "both partial installs work"
