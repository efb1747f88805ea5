"""Data modules of images."""
