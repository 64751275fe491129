"""Train BPDA networks, which stand in for transforms in a backward pass, and classifiers. A training goes on where it was left.

`bpda_job` and `classifier_job` check a training before it starts, `record` writes it into its store, `bpda_trainer` and
`classifier_trainer` do the work, `steps` is what a step of a classifier's training changes, `checkpoint` saves it,
`process_group` and `ray_train` spread one training over several devices, `run` is the driver.
"""

from pipeline.training.bpda_job import BpdaJob
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.run import train_classifier, train_networks
from pipeline.training.unit import TrainingUnit

__all__ = ["BpdaJob", "ClassifierJob", "TrainingUnit", "train_classifier", "train_networks"]
