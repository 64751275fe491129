"""Describe as JSON schemas what KubeRay 1.6 accepts of a RayJob and a RayCluster, as far as the recipes use it.

The schemas allow nothing else, so that a typing error fails.
"""


def strict(required, **properties):
    """Return the schema of an object that has only these properties."""
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


WHOLE, TEXT = {"type": "integer", "minimum": 0}, {"type": "string", "minLength": 1}
POD = strict(
    ["spec"],
    metadata=strict([], annotations={"type": "object", "additionalProperties": {"type": "string"}}),
    spec={"type": "object"},
)
"""The template of a pod: `kubernetes-validate` knows its inside."""

PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
WORKERS = strict(
    ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
    groupName=TEXT,
    minReplicas=WHOLE,
    maxReplicas=WHOLE,
    rayStartParams=PARAMETERS,
    labels=PARAMETERS,
    resources=PARAMETERS,
    template=POD,
)
SECURITY = strict(
    ["allowPrivilegeEscalation", "capabilities"],
    allowPrivilegeEscalation={"const": False},
    capabilities=strict(["drop"], drop={"const": ["ALL"]}),
)
CLUSTER = strict(
    ["rayVersion", "headGroupSpec", "workerGroupSpecs", "authOptions", "enableInTreeAutoscaling"],
    rayVersion=TEXT,
    authOptions=strict(["mode"], mode={"enum": ["token"]}),
    enableInTreeAutoscaling={"const": True},
    autoscalerOptions=strict(["version"], version={"enum": ["v2"]}, idleTimeoutSeconds=WHOLE, securityContext=SECURITY),
    headGroupSpec=strict(["rayStartParams", "template"], rayStartParams=PARAMETERS, template=POD),
    workerGroupSpecs={"type": "array", "minItems": 1, "items": WORKERS},
)
RAY_JOB = strict(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=strict(["name", "namespace"], name={"type": "string", "maxLength": 47}, namespace=TEXT),
    spec=strict(
        ["submissionMode", "entrypoint", "rayClusterSpec", "backoffLimit", "shutdownAfterJobFinishes"],
        submissionMode={"const": "K8sJobMode"},
        entrypoint=TEXT,
        backoffLimit=WHOLE,
        shutdownAfterJobFinishes={"const": True},
        ttlSecondsAfterFinished=WHOLE,
        activeDeadlineSeconds=WHOLE,
        submitterPodTemplate=POD,
        rayClusterSpec=CLUSTER,
    ),
)
RAY_CLUSTER = strict(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=strict(["name", "namespace"], name={"type": "string", "maxLength": 63}, namespace=TEXT),
    spec=CLUSTER,
)
