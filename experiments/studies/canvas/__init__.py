"""Styles and objects that a text-to-image model forgets."""
