"""Read and check what people write: campaign files and training files.

- `campaign`, `attacks`: the campaign file, its kinds of attack, and the identity of a cell
- `classifier_training`, `bpda_training`: the two kinds of training file
- `fields`: types that all files share
- `yaml_loader`: YAML without objects and without expansion
"""

__all__ = ["attacks", "bpda_training", "campaign", "classifier_training", "fields", "yaml_loader"]
