#!/bin/sh
# Installs missing browsers that tests run in, from Debian's packages. Needs root.
set -eu

missing=""
for program in chromium firefox-esr; do command -v "$program" >/dev/null || missing="$missing $program"; done
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -oAcquire::Retries=3 update
# shellcheck disable=SC2086 # a list of words
apt-get -qq -oAcquire::Retries=3 install --yes --no-install-recommends $missing
