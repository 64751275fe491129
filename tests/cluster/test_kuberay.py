"""Check the RayJob and the RayCluster without a cluster: KubeRay's fields by a schema made by hand, pods by Kubernetes' schema,
the autoscaler's view by Ray, and the commands by a pretended kubectl."""

import json
import os
import re
import shlex
import sys
from functools import cache

import pytest
import yaml

from tests.support import tiny
from tests.support.cluster.kuberay_schemas import RAY_CLUSTER, RAY_JOB

jsonschema = pytest.importorskip("jsonschema")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

SITE = {
    "image": "registry.example.com/barrage:0.1.0",
    "namespace": "ml",
    "store": "s3://bucket/tiny",
    "secret": "object-store",
    "shared": {"claim": "datasets", "path": "/tmp"},
    "environment": {"AWS_REGION": "us-east-1"},
    "groups": {
        "v100": {
            "nodes": 8,
            "gpus": 4,
            "cpus": 16,
            "memory_gb": 120,
            "accelerator": "V100",
            "labels": {"market-type": "spot"},
            "node_selector": {"nvidia.com/gpu.product": "Tesla-V100-SXM2-16GB"},
            "tolerations": [{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
        },
        "cpu": {"nodes": 2, "least": 1, "cpus": 8, "memory_gb": 32},
    },
}


@pytest.fixture
def launch(barrage, pattern, write, tmp_path, monkeypatch):
    """Launch a tiny campaign; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **changes):
        site = {key: value for key, value in (SITE | changes).items() if value is not None}
        cluster = write(site, "cluster.yaml")
        campaign = write(tiny.campaign(pattern))
        return barrage("launch", campaign, "--on", "kuberay", "--cluster", cluster, *arguments)

    return call


@pytest.fixture
def filled(launch):
    code, out, err = launch("--dry-run")
    assert code == 0, err
    return list(yaml.safe_load_all(out.partition("\n$ ")[0]))


@pytest.fixture
def stays(launch):
    """Return the RayCluster and the commands of a dry run."""
    code, out, err = launch("--dry-run", raycluster="barrage")
    assert code == 0, err
    text, *commands = out.split("\n$ ")
    return yaml.safe_load(text), commands


def pods(found):
    """Return the pods of a RayJob or a RayCluster; the first is the head, the last of a RayJob submits the job."""
    cluster = found["spec"].get("rayClusterSpec", found["spec"])
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    return templates + ([found["spec"]["submitterPodTemplate"]] if found["kind"] == "RayJob" else [])


@cache
def validator(kind):
    """Return the validator of one kind, whose schema is checked once."""
    schema = {"RayJob": RAY_JOB, "RayCluster": RAY_CLUSTER}[kind]
    made = jsonschema.validators.validator_for(schema)
    made.check_schema(schema)
    return made(schema)


def check(found):
    validator(found["kind"]).validate(found)
    for pod in pods(found):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"} | pod.get("metadata", {}), "spec": pod["spec"]}
        valid(json.dumps(whole))


@cache
def valid(text):
    """Raise unless Kubernetes' schema accepts the object; checked once for each."""
    kubernetes_validate.validate(json.loads(text), "1.30", strict=True)


def test_the_recipes_hold_what_the_operator_and_kubernetes_take(filled, stays):
    campaign, job = filled
    kubernetes_validate.validate(campaign, "1.30", strict=True)
    check(job)
    check(stays[0])


def test_nothing_runs_as_root_or_may_become_it(filled, stays):
    for pod in pods(filled[1]) + pods(stays[0]):
        assert pod["spec"]["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    for cluster in (filled[1]["spec"]["rayClusterSpec"], stays[0]["spec"]):
        assert cluster["autoscalerOptions"]["securityContext"] == container["securityContext"]
        assert cluster["authOptions"] == {"mode": "token"}
    submitter = pods(filled[1])[-1]["spec"]
    assert "command" not in submitter["containers"][0], "the operator puts the job there"
    assert submitter["automountServiceAccountToken"] is False and "envFrom" not in submitter["containers"][0]


def test_the_autoscaler_knows_what_nodes_would_have_before_one_is_there(stays):
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr as derive

    types = derive(stays[0])["available_node_types"]
    v100 = types["v100"]
    assert v100["resources"]["GPU"] == 4 and v100["resources"]["CPU"] == 16
    assert v100["resources"]["accelerator_type:V100"] == 1 and "accelerator_type:V100" not in types["cpu"]["resources"]
    assert v100["labels"] == {"group": "v100", "market-type": "spot"} and v100["max_workers"] == 8
    assert types["headgroup"]["resources"].get("CPU") == 0


def test_a_cluster_that_stays_takes_the_campaign_as_a_job(stays):
    cluster, (apply, wait, submit) = stays
    assert cluster["metadata"] == {"name": "barrage", "namespace": "ml"}
    assert "campaign" not in [volume["name"] for pod in pods(cluster) for volume in pod["spec"]["volumes"]]
    groups = cluster["spec"]["workerGroupSpecs"]
    assert len(groups) == 2 and not any("replicas" in group for group in groups), "another apply would end workers"
    assert apply == "kubectl --namespace ml apply -f launched/tiny/raycluster.yaml"
    assert "condition=HeadPodReady raycluster/barrage" in wait
    words = shlex.split(submit)
    assert words[:9] == [
        "kubectl",
        "--namespace",
        "ml",
        "exec",
        "svc/barrage-head-svc",
        "--container=ray-head",
        "--",
        "ray",
        "job",
    ]
    script = json.loads(words[words.index("--runtime-env-json") + 1])["env_vars"]["BARRAGE_JOB"]
    assert "exec barrage run campaign.yaml --store s3://bucket/tiny" in script and "--no-wait" in words


def places(tree, path=()):
    """Yield every key of a tree of mappings and lists."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if isinstance(tree, dict):
            yield (*path, key)
        yield from places(value, (*path, key))


FREE = {"annotations", "labels", "resources", "nodeSelector", "limits", "requests", "rayStartParams"}
"""Mappings with keys that a schema cannot know."""


@pytest.mark.parametrize("kind", ["RayJob", "RayCluster"])
def test_a_typo_in_any_key_fails(filled, stays, kind):
    found = {"RayJob": filled[1], "RayCluster": stays[0]}[kind]
    tried = set()
    for path in places(found):
        if FREE & set(map(str, path[:-1])) or path[-2:] in tried:
            continue
        broken = json.loads(json.dumps(found))
        inside = broken
        for part in path[:-1]:
            inside = inside[part]
        inside[path[-1] + "x"] = inside.pop(path[-1])
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError, KeyError)):
            check(broken)
        tried.add(path[-2:])
    assert len(tried) > 60


def test_what_the_campaign_and_the_cluster_file_say_is_in_it(filled, pattern, monkeypatch):
    campaign, job = filled
    assert yaml.safe_load(campaign["data"]["campaign.yaml"]) == tiny.campaign(pattern)
    assert "--store s3://bucket/tiny" in job["spec"]["entrypoint"]
    cluster = job["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    head, v100, cpu = (of["template"]["spec"] for of in (cluster["headGroupSpec"], groups["v100"], groups["cpu"]))
    assert "nodeSelector" not in head and "tolerations" not in head
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert v100["nodeSelector"] == {"nvidia.com/gpu.product": "Tesla-V100-SXM2-16GB"}
    assert v100["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert v100["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert "nvidia.com/gpu" not in cpu["containers"][0]["resources"]["limits"]
    for pod in (head, v100, cpu):
        (container,) = pod["containers"]
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        drain = int(variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert pod["terminationGracePeriodSeconds"] > drain >= 180
        assert pod["securityContext"]["runAsNonRoot"] and not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["envFrom"] == [{"secretRef": {"name": "object-store"}}]
        assert variables["AWS_REGION"] == "us-east-1" and variables["BARRAGE_ALLOW_MODULES"] == "tests"
        assert pod["volumes"][-1]["persistentVolumeClaim"]["claimName"] == "datasets"
    assert [groups["v100"][key] for key in ("minReplicas", "maxReplicas")] == [0, 8]
    assert groups["cpu"]["minReplicas"] == 1


def test_the_same_input_gives_the_same_text(launch):
    assert launch("--dry-run")[1] == launch("--dry-run")[1]


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Put a kubectl on the PATH that logs its calls and returns given answers: {word of the command: (exit code, text)}."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log, answers = tmp_path / "asked", tmp_path / "answers.json"
    answers.write_text("{}")
    tool = folder / "kubectl"
    tool.write_text(
        f"#!{sys.executable}\nimport json, sys\nopen({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"for word, (code, text) in json.load(open({str(answers)!r})).items():\n"
        "    if word in sys.argv:\n        print(text, file=sys.stderr if code else sys.stdout)\n        sys.exit(code)\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(**words):
        answers.write_text(json.dumps({word.replace("_", "-"): answer for word, answer in words.items()}))
        return lambda: log.read_text().splitlines()

    return answer


def test_it_is_submitted_by_kubectl(launch, kubectl, tmp_path):
    asked = kubectl()
    code, out, err = launch()
    assert code == 0, err
    file = "launched/tiny/rayjob.yaml"
    delete = "--namespace ml delete rayjob barrage-tiny --ignore-not-found"
    assert asked()[-2:] == [delete, f"--namespace ml apply -f {file}"]
    assert yaml.safe_load_all((tmp_path / file).read_text())
    assert f"stop: kubectl {delete}" in out and "follow: barrage status s3://bucket/tiny" in out


def test_a_cluster_that_stays_is_there_before_it_is_given_the_job(launch, kubectl):
    asked = kubectl(raycluster=(0, '{"kind": "RayCluster"}'))
    code, out, err = launch(raycluster="barrage")
    assert code == 0, err
    lines = [line for line in asked() if line.startswith("--namespace ml ")]
    assert "get raycluster barrage" in lines[0] and any("apply --dry-run=server" in line for line in lines)
    apply, wait, job = [" ".join(line.split()[2:6]) for line in lines[-3:]]
    assert (apply, wait) == (
        "apply -f launched/tiny/raycluster.yaml",
        "wait --for=condition=HeadPodReady raycluster/barrage --timeout=30m",
    )
    assert job == "exec svc/barrage-head-svc --container=ray-head --"
    assert "stop: kubectl --namespace ml delete raycluster barrage" in out


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"rayjob": (1, "error: You must be logged in to the server")}, "You must be logged in"),
        ({"rayjob": (0, '{"status": {"jobDeploymentStatus": "Running"}}')}, "barrage-tiny runs there already (Running)"),
        ({"rayjob": (0, '{"kind": "RayJob"}')}, "barrage-tiny runs there already (new)"),
        ({"secret": (1, 'secrets "object-store" not found')}, "secret object-store of the cluster file"),
        ({"persistentvolumeclaim": (1, "not found")}, "persistentvolumeclaim datasets"),
        ({"apply": (1, "denied by policy")}, "Kubernetes would refuse the job: denied by policy"),
    ],
)
def test_what_kubernetes_refuses_is_one_line_and_nothing_is_submitted(launch, kubectl, tmp_path, answers, said):
    asked = kubectl(**answers)
    code, _, err = launch()
    assert code == 2 and said in err and err.count("\n") == 1
    assert not (tmp_path / "launched").exists()
    assert not any("delete" in line or re.search("apply -f l", line) for line in asked())


def test_a_finished_job_may_be_launched_again(launch, kubectl):
    kubectl(rayjob=(0, '{"status": {"jobDeploymentStatus": "Complete"}}'))
    assert launch()[0] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shared": None}, "which the nodes may not see"),
        ({"shared": {"claim": "datasets", "path": "/data"}}, "the nodes see only /data"),
        ({"secret": None}, "store is s3://bucket/tiny, and the cluster file names no credentials: give `secret`"),
        ({"raycluster": "My_Cluster"}, "raycluster: 'My_Cluster'"),
        ({"store": "stores/tiny"}, "store is the relative path stores/tiny"),
        ({"image": "barrage"}, "image: 'barrage'"),
        ({"grace_second": 3}, "did you mean 'grace_seconds'"),
        ({"groups": {"v100": {"nodes": 1, "cpus": 0.5, "memory_gb": 4}}}, "groups.v100.cpus"),
        ({"groups": {"v100": {"nods": 1, "cpus": 1, "memory_gb": 4}}}, "did you mean 'nodes'"),
    ],
)
def test_bad_cluster_files_are_one_line(launch, changes, said):
    code, _, err = launch("--dry-run", **changes)
    assert code == 2 and said in err and err.count("\n") == 1


def test_the_right_to_a_bucket_is_named_somehow(launch):
    for way in ({"service_account": "default"}, {"environment": {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}}):
        assert launch("--dry-run", secret=None, **way)[0] == 0


def test_without_kubectl_it_says_so(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = launch()
    assert code == 2 and "kubectl is not installed here" in err
