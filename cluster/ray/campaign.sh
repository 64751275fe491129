#!/usr/bin/env bash
# {{ order.campaign.name }} as a job of a Ray cluster, filled by `barrage launch`. Ray sets RAY_ADDRESS. To resume, submit it
# again.
set -euo pipefail
folder=$(mktemp -d)
cat > "$folder/campaign.yaml" << 'END_OF_THE_CAMPAIGN'
{{ campaign }}
END_OF_THE_CAMPAIGN
cd "$folder"
{% if 'doctor' in steps %}
barrage doctor campaign.yaml --store {{ order.store | sh }} --no-rate --nodes {{ nodes }}{{ ' --json' if 'run' not in steps }}
{% endif %}
{% if 'run' in steps %}
exec barrage run campaign.yaml --store {{ order.store | sh }}
{% endif %}
