"""Data of code models: functions with secrets."""
