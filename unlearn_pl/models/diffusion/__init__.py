"""Diffusion models of images, conditioned on prompts."""
