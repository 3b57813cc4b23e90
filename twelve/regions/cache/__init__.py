"""What is known of pictures seen before, in memory and in a folder that workers share."""

from twelve.regions.cache.region_cache import DEFAULT_BYTES, MISSED, RESULTS, Boxes, Known, RegionCache, boxes_key

__all__ = ["DEFAULT_BYTES", "MISSED", "RESULTS", "Boxes", "Known", "RegionCache", "boxes_key"]
