"""Evaluation of models of images."""
