"""Writes what `training.world.words` says in the official files of the twelve data sets, below one data root."""
