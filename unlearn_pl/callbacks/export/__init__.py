"""The folder of an exported model: its check, how to prompt it, and its model card."""
