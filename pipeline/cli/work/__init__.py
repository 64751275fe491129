"""Hold the commands that compute: they run a campaign, its checks or a training, or estimate what a run would cost."""
