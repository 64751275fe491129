"""Certify a classifier behind Gaussian noise: the class that the smoothed classifier says, and the radius in which it stays.

Source: Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019.
"""

from bart.certificate.bound import lower_bound, radius
from bart.certificate.votes import Certify

__all__ = ["Certify", "lower_bound", "radius"]
