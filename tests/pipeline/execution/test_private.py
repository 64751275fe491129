"""Ray's private interfaces: each that is used is there, and a release without one is refused in one line."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from pipeline.errors import BadInput
from pipeline.execution.ray import private

ROOT = Path(__file__).parents[3]


def pretended(without=""):
    """Return a module with every private attribute that is used but one."""
    made = SimpleNamespace(__version__="9.9.9")
    for path in private.USED:
        at = made
        for name in path.split(".") if path != without else ():
            at.__dict__.setdefault(name, SimpleNamespace())
            at = getattr(at, name)
    return made


def test_the_installed_ray_has_what_is_used_and_its_release_was_tested():
    private.check(ray)
    assert all(ray.__version__ in releases for releases in private.USED.values())


@pytest.mark.parametrize("path", list(private.USED))
def test_a_release_that_lacks_an_attribute_is_refused_with_the_releases_that_have_it(path):
    private.check(pretended())
    with pytest.raises(BadInput) as refused:
        private.check(pretended(without=path))
    said = str(refused.value)
    assert f"Ray 9.9.9 has no ray.{path}," in said and "2.60.0" in said and "pip install ray==" in said and "\n" not in said


def attributes(path):
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def test_one_module_uses_private_attributes_of_ray_and_declares_them():
    private_names = {path.rpartition(".")[2] for path in private.USED} | {"_private", "_raylet"}
    used = {
        path.relative_to(ROOT).as_posix(): found
        for folder in ("pipeline", "cluster")
        for path in (ROOT / folder).rglob("*.py")
        if (found := attributes(path) & private_names)
    }
    assert used == {"pipeline/execution/ray/private.py": private_names - {"_raylet"}}


def test_ray_keeps_no_account_of_the_calls_of_any_actor():
    """Its head keeps 3.7 KB of each call, up to 100,000 calls, unless told otherwise where the actor is made."""
    made = [
        call
        for path in (ROOT / "pipeline").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and re.fullmatch(r"(\w+\.)?_?ray\.remote", ast.unparse(call.func))
    ]
    assert len(made) >= 2
    for call in made:
        assert ("enable_task_events", "False") in [(word.arg, ast.unparse(word.value)) for word in call.keywords], ast.unparse(
            call
        )


def test_the_death_of_a_vital_process_alone_counts():
    def dying(*kinds):
        node = SimpleNamespace(dead_processes=lambda: [(kind, None) for kind in kinds])
        return SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace(_global_node=node)))

    assert private.dead_process(dying("log_monitor", "raylet")) == "raylet"
    assert private.dead_process(dying("log_monitor")) == "" == private.dead_process(dying())
    joined = SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace(_global_node=None)))
    assert private.dead_process(joined) == "", "this process started no Ray"
