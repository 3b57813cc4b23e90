"""The feature store: region features of pictures, computed once and kept. Training, server cache and index share it."""

from twelve.features.region_set import UNKNOWN_LABEL, RegionSet
from twelve.features.store import FeatureStore, StoreInfo

__all__ = ["UNKNOWN_LABEL", "FeatureStore", "RegionSet", "StoreInfo"]
