"""Make networks and load their weights, which are checked before use.

- `architectures`: networks by name, with the preprocessing that their library uses
- `loading`: a campaign's model with its weights, ready on a device
- `weights`: the files of classifiers that `barrage train` wrote
- `bpda_networks`: the files of BPDA networks
"""

__all__ = ["architectures", "bpda_networks", "loading", "weights"]
