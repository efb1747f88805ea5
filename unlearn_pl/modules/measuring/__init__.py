"""Forward passes of the trained model between optimizer steps."""
