"""Show how a run goes in trackers of experiments: TensorBoard, MLflow, Weights & Biases, Trackio, and those of other packages.

Each tracker works in a process of its own (`follow`), which the driver starts and tells which units are done (`follower`). The
figures come from the rows of the store. So whatever a tracker does, the campaign does not notice.
"""
