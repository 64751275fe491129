#!/usr/bin/env bash
# Succeeds if Ray's raylet runs here and the cluster answers, or if Ray was not started.
set -euo pipefail
if ! pgrep -x raylet > /dev/null; then
  if pgrep -f 'ray[ ]start' > /dev/null; then exit 1; fi
  exit 0
fi
exec timeout 15 ray health-check ${RAY_ADDRESS:+--address "$RAY_ADDRESS"}
