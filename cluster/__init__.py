"""Launch campaigns on Slurm, Kubernetes and Ray clusters, and check machines before money is spent. Decides no number.

- `cluster_file`: what a cluster file may say: groups of nodes, time, environment
- `launch_checks`: whether the nodes see the campaign's files and have room for its workers
- `launch_orders`: what is launched, and how it is handed to the cluster's own tool
- `templates`: fill the job files of the folders below
- `slurm`, `kuberay`, `ray`: one folder for each kind of cluster, with its launcher, job files and an example cluster file
- `launchers`: the table of the three kinds
- `node_facts`, `node_checks`, `doctor`: what a node has, what that means, and `barrage doctor`, which asks every node
- `commands`: `barrage launch` and `barrage doctor`
"""

__all__ = [
    "cluster_file", "commands", "doctor", "kuberay", "launch_checks", "launch_orders", "launchers", "node_checks", "node_facts",
    "ray", "slurm", "templates",
]  # fmt: skip
