"""Recorded trajectories: HDF5 files in robomimic's layout, and windows of them for training."""
