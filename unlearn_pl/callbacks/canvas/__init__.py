"""Evaluation of models that make images of styles and objects."""
