"""Hold the commands that compute: they run a campaign, its checks or a training, or say what a run would cost."""
