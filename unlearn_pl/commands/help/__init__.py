"""Texts that help a user of the command line: lists of classes, and what was probably meant."""
