"""Robotics planning with V-JEPA 2-AC style latent world models."""
