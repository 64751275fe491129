#!/usr/bin/env bash
# Makes a user barrage with the number 1000, and removes the base's user with that number.
set -euo pipefail
if name=$(getent passwd 1000 | cut -d: -f1) && [[ -n $name ]]; then
  userdel --remove "$name" 2> /dev/null || userdel "$name"
fi
if ! getent group 1000 > /dev/null; then
  groupadd --gid 1000 barrage
fi
useradd --uid 1000 --gid 1000 --create-home --home-dir /home/barrage --shell /bin/bash barrage
