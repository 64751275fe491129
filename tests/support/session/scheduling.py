"""Share the tests out to the workers of pytest-xdist: what belongs together to one worker, what takes long first."""

import os

import pytest

LONG = (
    "execution/test_ray", "cluster/test_ray", "test_example", "cluster/test_slurm", "test_chaos", "test_faults",
    "view/test_page", "denoising/test_rank",
    "gpu_kernels/test_clahe", "test_wheel", "test_docs", "test_gallery", "test_notebooks", "training/test_train", "test_report",
    "test_detached", "gpu_kernels", "test_doctor", "storage/test_cloud", "test_parking", "test_stop_rule", "test_compaction",
    "test_sealed", "test_measur", "test_workers_that_no_cluster", "test_python_m_pipeline", "test_documented_names",
    "test_importing_bart", "test_extras", "test_replay", "test_site", "storage/test_bucket", "defenses/test_permute",
    "pipeline/campaigns", "transforms/denoising", "bpda/test_policies", "attacks/test_square", "attacks/test_lbfgs",
    "test_kuberay", "attacks/test_spsa", "costs/test_costs", "attacks/test_restarts", "defenses/test_barrage",
    "cli/test_shipped", "store/test_compacted", "transforms/test_clahe", "pipeline/tracking", "cli/test_completion",
)  # fmt: skip
"""Parts of the names of tests that take long, the longest first: begun last, one of them would keep its worker at the end.
They start Ray, a browser, a compiler of kernels or other processes, run many campaigns, or compute for seconds."""

CLUSTERS = ("tests/cluster/", "campaigns/test_faults", "pipeline/training/")
"""Parts of the names of slow tests that wait for real clusters: CI runs them alone, since others would delay them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return the number of workers, at most 16: the cores for `-n logical`; two more for `-n auto`, as many tests wait."""
    waiting = 2 * (config.option.numprocesses == "auto")
    return min(len(os.sched_getaffinity(0)) + waiting, 16)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep tests that share what is slow to make on one worker, for `--dist loadgroup`; mark the long ones, begin with them."""
    for item in items:
        if together := group(item):
            item.add_marker(pytest.mark.xdist_group(together))
        if rank(item) < len(LONG):
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("slow") and any(part in item.nodeid for part in CLUSTERS):
            item.add_marker(pytest.mark.alone)
    items.sort(key=rank)


def group(item):
    """Return the name of what a test shares: the S3 server of a worker, or fixtures of its module; else None."""
    made = item._fixtureinfo.name2fixturedefs
    if "s3_port" in made:
        return "s3"
    return item.module.__name__ if any(found[-1].scope == "module" for found in made.values()) else None


def rank(item):
    """Return where a test comes in the order: at the first part in LONG that its name holds, or after all of them."""
    return next((number for number, part in enumerate(LONG) if part in item.nodeid), len(LONG))
