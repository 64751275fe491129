"""Record what is queued on a GPU once and replay it: one start for thousands of launches.

Other rooms use the names in `__all__`.
"""

from bart.recording.graphs import forget, keep, recorded, records, store, stream_of, under_way
from bart.recording.repeated import possible, repeat, with_room

__all__ = ["forget", "keep", "possible", "recorded", "records", "repeat", "store", "stream_of", "under_way", "with_room"]
