"""Extraction: the regions of folders, lists and archives of pictures, kept in a feature store; no kill loses any."""
