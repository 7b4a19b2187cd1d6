"""Whole files, tables and pictures on disk; imports nothing of the package."""
