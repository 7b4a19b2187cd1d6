"""The folder of a finished run: written, read back, compared with others, repeated over seeds."""
