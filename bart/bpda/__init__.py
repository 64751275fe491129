"""Differentiate transforms for attacks: gradient policies (BPDA), and the networks that imitate transforms.

Other rooms use the names in `__all__`.
"""

from bart.bpda.network import FIELD, BpdaNet, parameter_count
from bart.bpda.policies import POLICIES, Networks, checked, combo, complete, without_networks

__all__ = ["FIELD", "POLICIES", "BpdaNet", "Networks", "checked", "combo", "complete", "parameter_count", "without_networks"]
