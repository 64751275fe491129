"""Ask other rooms for what they make: pictures of an image, a comparison of two cells, errors of a cell. Imported when asked."""

from pipeline.campaigns.job import Job
from pipeline.store.layout import Store


def pictures_missing(job: Job) -> str:
    """Return why there are no pictures of attacked images; empty where there are some."""
    if not job.campaign.save_adversarial:
        return "the campaign keeps none (save_adversarial)"
    first = next(iter(Store(job.store).scan("adversarial/*/*.tar")), None)
    return "" if first else "the store's folder adversarial/ is not here"
