"""Give a classifier behind Gaussian noise its certificate: the class that it says when smoothed, and the radius of that.

Source: Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019.
"""

from bart.certificate.bound import lower_bound, radius
from bart.certificate.votes import Certify

__all__ = ["Certify", "lower_bound", "radius"]
