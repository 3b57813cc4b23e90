"""Regions: from a picture, and boxes given with it, to features; the detector, its operations, and extraction."""
