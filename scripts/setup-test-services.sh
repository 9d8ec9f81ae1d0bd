#!/usr/bin/env bash
# Installs the Debian packages that only integration tests need. Does nothing when they are there.
# With CI=true a service that cannot be installed is an error; elsewhere its tests skip, and this says so.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

has_postgresql() {
  command -v initdb >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

has_chromium() {
  command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}

missing=()
has_postgresql || missing+=(postgresql)
# runc beside it: crun refuses machines that have both versions of control groups.
command -v podman >/dev/null 2>&1 || missing+=(podman runc uidmap fuse-overlayfs)
has_chromium || missing+=(chromium)
if ((${#missing[@]} == 0)); then
  exit 0
fi

give_up() {
  say "$1 Install by hand: ${missing[*]}. Tests that need them skip, and fail when CI=true."
  if [[ "${CI:-}" == true ]]; then exit 1; else exit 0; fi
}

command -v apt-get >/dev/null 2>&1 || give_up "This is not a Debian-like system (no apt-get)."
if ((EUID == 0)); then
  root=(env)
elif command -v sudo >/dev/null 2>&1; then
  root=(sudo env)
else
  give_up "Installing packages needs root or sudo, and neither is here."
fi

say "installing ${missing[*]} (only integration tests need them)"
"${root[@]}" apt-get update -qq || give_up "apt-get update failed."
"${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
  give_up "apt-get install failed."
