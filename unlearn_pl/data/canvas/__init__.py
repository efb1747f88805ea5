"""Data modules of images with prompts: styles and objects."""
